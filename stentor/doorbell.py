"""Sending Celery messages: doorbells to the devices and tasks to the io workers, without importing a worker."""

from __future__ import annotations

from typing import Any

import celery
import redis
from kombu.exceptions import OperationalError

from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import SENTINEL_TIMEOUT_S, redis_errors
from stentor.redis.url import sentinels_of, server_tls
from stentor.settings import Settings

SYNTHESIS_QUEUE = "synthesis"
IO_QUEUE = "io"
SYNTHESIZE = "stentor.synthesize"
LOAD = "stentor.load"
UNLOAD = "stentor.unload"
REMOVE_CANCELED = "stentor.remove_canceled"
CHECK_RECORDING = "stentor.check_recording"
REMOVE_RECORDINGS = "stentor.remove_recordings"
CHECK_BULK = "stentor.check_bulk"
PACK_ARCHIVE = "stentor.pack_archive"
JOIN_GROUPS = "stentor.join_groups"
SWEEP = "stentor.sweep"

#: Who orders an ``UNLOAD``: a person, or the scheduler's policy. The device checks an order of the policy again.
BY_PERSON = "person"
BY_POLICY = "policy"

#: After this time a task whose worker was killed with all its processes is given to another worker. A task that takes
#: longer is delivered twice, so long tasks hold a lock.
VISIBILITY_TIMEOUT_S = 600


def device_queue(device_id: str) -> str:
    """Name of the queue of one device."""
    return f"device.{device_id}"


def node_name(name: str, host: str) -> str:
    """Name of the Celery worker of a device, or of ``io``."""
    return f"{name.replace(':', '-')}@{host}"


def create_celery(settings: Settings) -> celery.Celery:
    """A Celery app that uses the settings' Redis; rooms add tasks or only send.

    ``broker_transport_options.socket_*`` keep a sender from hanging when Redis does not answer.
    """
    url = settings.redis_url.get_secret_value()
    known = sentinels_of(url, settings.redis_tls_ca)
    app = celery.Celery("stentor", broker=known.broker_url if known else url, set_as_current=False)
    sentinel: dict[str, Any] = {}
    if known:
        timeouts = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
        sentinel = {"master_name": known.master, "sentinel_kwargs": {**timeouts, **known.sentinel_options}}
    if tls := known.tls_options if known else server_tls(url, settings.redis_tls_ca):
        app.conf.broker_use_ssl = tls
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": keys.CELERY_PREFIX,
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
            **sentinel,
        },
        task_default_queue=IO_QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        enable_utc=True,
        timezone="UTC",
    )
    return app


class Doorbell:
    """Rings the devices when there is work, with at most one unheard message per device."""

    def __init__(self, app: celery.Celery, client: redis.Redis) -> None:
        self._app = app
        self._client = client

    def ring(self) -> bool:
        """Whether a message was sent. None is sent while one per device waits to be heard.

        Raises:
            RedisUnavailable: Redis does not accept the message.
        """
        queue = keys.queue(SYNTHESIS_QUEUE)
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.llen(queue)
            pipe.scard(keys.DEVICES)
            waiting, devices = pipe.execute()
        if waiting >= max(1, devices):
            return False
        self.call()
        return True

    def call(self) -> None:
        """Send a message without counting; the caller knows that one is needed, as from ``jobs/submit.lua``.

        Raises:
            RedisUnavailable: Redis does not accept the message.
        """
        self._send(SYNTHESIZE, SYNTHESIS_QUEUE)

    def order(self, task: str, device_id: str, **arguments: str) -> None:
        """Send an order (``LOAD``, ``UNLOAD``) to one device, which reads it when it is free.

        Raises:
            RedisUnavailable: Redis does not accept the message.
        """
        self._send(task, device_queue(device_id), **arguments)

    def ask(self, task: str, **arguments: str) -> None:
        """Send a task to the io workers.

        Raises:
            RedisUnavailable: Redis does not accept the message.
        """
        self._send(task, IO_QUEUE, **arguments)

    def _send(self, task: str, queue: str, **arguments: str) -> None:
        try:
            self._app.send_task(task, kwargs=arguments, queue=queue, ignore_result=True, retry=False)
        except OperationalError as exc:
            raise RedisUnavailable(f"Redis does not accept messages: {exc}") from exc
