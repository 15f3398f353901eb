"""Celery messages that a device sends, and whether it listens to the doorbell."""

from __future__ import annotations

import celery
import redis
from kombu.exceptions import OperationalError

from stentor import log
from stentor.doorbell import IO_QUEUE, REMOVE_CANCELED, SYNTHESIS_QUEUE, SYNTHESIZE, Doorbell
from stentor.errors import RedisUnavailable

_log = log.get(__name__)


class DeviceMessages:
    """The doorbell and the tasks of one device."""

    def __init__(self, app: celery.Celery, client: redis.Redis, device_id: str, *, node: str) -> None:
        """``node`` is the name of the device's Celery worker."""
        self._app = app
        self._doorbell = Doorbell(app, client)
        self._device_id = device_id
        self._node = node

    def ring(self) -> None:
        """Ring the doorbell; if that fails, the scheduler rings for what waits."""
        try:
            self._doorbell.ring()
        except RedisUnavailable as exc:
            _log.warning("doorbell_not_rung", reason=str(exc))

    def ring_here(self) -> None:
        """Ring for this device alone: it holds rows that no other device can speak."""
        try:
            self._doorbell.order(SYNTHESIZE, self._device_id)
        except RedisUnavailable as exc:
            _log.warning("doorbell_not_rung", reason=str(exc))

    def listen(self) -> None:
        """Listen to the doorbell; an earlier process of this device may have stopped that."""
        try:
            self._app.control.add_consumer(SYNTHESIS_QUEUE, destination=[self._node])
        except (OperationalError, redis.RedisError) as exc:
            _log.warning("doorbell_not_heard", reason=str(exc))

    def stop_listening(self) -> None:
        """Leave the doorbell to other devices."""
        self._app.control.cancel_consumer(SYNTHESIS_QUEUE, destination=[self._node])

    def discard_audio(self, job_id: str, key: str) -> None:
        """Have audio removed that was uploaded for a job which had been canceled meanwhile."""
        self._app.send_task(REMOVE_CANCELED, args=[job_id, key], queue=IO_QUEUE, retry=False)
