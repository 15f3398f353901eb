"""From what happened to a delivery for everybody who hears of it. Doing it twice changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence

import redis

from stentor import log
from stentor.redis import keys
from stentor.redis.client import script
from stentor.redis.record import to_items
from stentor.settings import Settings
from stentor.webhooks.store import ATTEMPTS_TAKE_S
from stentor.webhooks.webhook import PENDING, PING, SKIPPED, Delivery, Endpoint, Event, delivery_id, implicit_id, origin
from worker.webhooks.payloads import Message, message

_log = log.get(__name__)


class FanOut:
    """Writes deliveries for events.

    Raises:
        redis.RedisError: when Redis does not answer; what was written by then is found there the next time.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._public_url = settings.public_url
        self._kept_s = round(settings.webhook_keep_s + ATTEMPTS_TAKE_S)
        self._put = script(client, "webhooks/put")

    def write(self, events: Sequence[Event]) -> list[Event]:
        """The events whose deliveries are in Redis now, those with nothing to tell among them.

        One that cannot be rendered, which is a fault of ours, is left out and comes again.
        """
        now = time.time()
        endpoints = self._endpoints({event.owner for event in events})
        written: list[Event] = []
        deliveries: list[tuple[Delivery, bool]] = []
        for event, fields in zip(events, self._truths(events), strict=True):
            try:
                event_message = message(event, fields, public_url=self._public_url, now=now)
                deliveries += deliveries_of(event_message, endpoints[event.owner], now) if event_message else ()
            except Exception as exc:  # noqa: BLE001 - one event's fault must not hold the others
                _log.error("event_not_told", type=event.type, id=event.id, exc_info=exc)
                continue
            written.append(event)
            if event_message is None:
                _log.warning("event_void", type=event.type, id=event.id)
        if deliveries:
            packed = json.dumps([_arguments(delivery, implicit) for delivery, implicit in deliveries])
            self._put(keys=[keys.DUE_ENDPOINTS], args=[now, self._kept_s, packed])
        return written

    def _truths(self, events: Iterable[Event]) -> list[Mapping[str, str]]:
        pipe = self._client.pipeline(transaction=False)
        for event in events:
            pipe.hgetall(keys.job(event.id) if event.type.startswith("job.") else keys.bulk(event.id))
        return pipe.execute()

    def _endpoints(self, owners: set[str]) -> dict[str, list[Endpoint]]:
        pipe = self._client.pipeline(transaction=False)
        for owner in owners:
            pipe.hvals(keys.webhooks(owner))
        lines = pipe.execute()
        return {owner: [Endpoint.from_json(line) for line in found] for owner, found in zip(owners, lines, strict=True)}


def deliveries_of(event_message: Message, endpoints: Iterable[Endpoint], now: float) -> list[tuple[Delivery, bool]]:
    """A delivery for each endpoint that hears of it, and whether that is an implicit one."""
    found: list[tuple[Delivery, bool]] = []
    for endpoint in endpoints:
        if endpoint.id == event_message.endpoint if event_message.type == PING else endpoint.hears(event_message.type):
            state = SKIPPED if endpoint.disabled else PENDING
            found.append((_delivery(event_message, endpoint.id, endpoint.url, state, now), False))
    if event_message.webhook_url:
        callback = implicit_id(event_message.owner, event_message.webhook_url)
        found.append((_delivery(event_message, callback, event_message.webhook_url, PENDING, now), True))
    return found


def _delivery(event_message: Message, endpoint: str, url: str, state: str, now: float) -> Delivery:
    return Delivery(
        id=delivery_id(event_message.id, endpoint),
        event=event_message.id,
        type=event_message.type,
        endpoint=endpoint,
        owner=event_message.owner,
        url=url,
        payload=event_message.body,
        state=state,
        created_at=now,
        due_at=now if state == PENDING else None,
        settled_at=None if state == PENDING else now,
    )


def _arguments(delivery: Delivery, implicit: bool) -> dict[str, object]:
    """The delivery as ``webhooks/put.lua`` takes it."""
    return {
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "owner": delivery.owner,
        "state": delivery.state,
        "origin": origin(delivery.url) if implicit else "",
        "fields": to_items(delivery),
    }
