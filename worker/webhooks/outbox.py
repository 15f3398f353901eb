"""The outbox: what happened, as settling wrote it down. An entry goes when its deliveries are in Redis."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis

from stentor.redis import keys
from stentor.webhooks.webhook import Event

#: Events that are looked at together.
AT_A_TIME: Final = 100
#: An entry that a courier has held for so long is taken for lost with it, in seconds; and how often to look for such.
#: Writing deliveries takes milliseconds, and if it was not lost, nothing comes of writing them twice.
LOST_AFTER_S, LOOK_FOR_LOST_EVERY_S = 2.0, 1.0
#: The name of a courier that was silent for so long is forgotten, in seconds.
FORGET_AFTER_S: Final = 3600.0


class Outbox:
    """One courier's view of the outbox.

    Raises:
        redis.RedisError: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._name = name
        self._look_at = 0.0

    def open(self) -> None:
        """Make the outbox if it is not there, and forget couriers of long ago that hold nothing."""
        with contextlib.suppress(redis.ResponseError):  # the group is there already
            self._client.xgroup_create(keys.OUTBOX, keys.COURIERS, "0", mkstream=True)
        for one in self._client.xinfo_consumers(keys.OUTBOX, keys.COURIERS):
            if one["pending"] == 0 and one["idle"] > FORGET_AFTER_S * 1000:
                self._client.xgroup_delconsumer(keys.OUTBOX, keys.COURIERS, one["name"])

    def read(self, wait_s: float) -> list[Event]:
        """Events that no dispatcher has read, waiting up to ``wait_s``; at times also those of lost dispatchers."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_FOR_LOST_EVERY_S
            if lost := self._lost():
                return lost
        wait_ms = max(1, round(wait_s * 1000))  # 0 is for ever
        answer = self._client.xreadgroup(keys.COURIERS, self._name, {keys.OUTBOX: ">"}, count=AT_A_TIME, block=wait_ms)
        return _events(answer)

    def _lost(self) -> list[Event]:
        answer: Any = self._client.xautoclaim(
            keys.OUTBOX, keys.COURIERS, self._name, round(LOST_AFTER_S * 1000), count=AT_A_TIME
        )
        return [_event(entry, fields) for entry, fields in answer[1] if fields]

    def done(self, events: Iterable[Event]) -> None:
        """Remove events: their deliveries are in Redis."""
        entries = [event.entry for event in events]
        if entries:
            pipe = self._client.pipeline(transaction=True)
            pipe.xack(keys.OUTBOX, keys.COURIERS, *entries)
            pipe.xdel(keys.OUTBOX, *entries)
            pipe.execute()


def _events(answer: Any) -> list[Event]:
    """The entries of one stream in what XREADGROUP answered: a map with RESP3, a list of pairs with RESP2."""
    streams: Sequence[Any] = list(answer.values()) if isinstance(answer, dict) else [one[1] for one in answer or ()]
    flat = [entry for entries in streams for entry in entries]
    if flat and isinstance(flat[0], list) and flat[0] and not isinstance(flat[0][0], str):
        flat = [entry for entries in flat for entry in entries]
    return [_event(entry, fields) for entry, fields in flat]


def _event(entry: str, fields: dict[str, str]) -> Event:
    return Event(entry=entry, type=fields["type"], id=fields["id"], owner=fields["owner"])
