"""Held work, watched: when nothing is held any more, the doorbell rings, whether a scheduler is there or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

from stentor import log
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors

_log = log.get(__name__)

#: So long after the hold ought to have expired it is looked at, in seconds.
LATE_S = 0.1
#: Pause before a Redis that does not answer is asked again, in seconds.
RETRY_S = 1.0


class HoldWatcher:
    """Rings for work that a device has met and that was held.

    A scheduler rings when it ends a hold. One that was killed does not: then the hold expires, and nobody else knows
    that something waits for that.
    """

    def __init__(self, client: redis.Redis, ring: Callable[[], None]) -> None:
        self._client = client
        self._ring = ring
        self._lock = threading.Lock()
        self._watching = False

    def start(self) -> None:
        """Watch, in a thread of its own, until nothing is held, and ring then."""
        with self._lock:
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._run, name="held", daemon=True).start()

    def _run(self) -> None:
        while (left_s := self._left_s()) is not None:
            time.sleep(left_s + LATE_S)
        with self._lock:
            self._watching = False
        _log.info("hold_over")
        self._ring()

    def _left_s(self) -> float | None:
        """How long the hold is good for unless it is renewed; None when there is none."""
        try:
            with redis_errors():
                left_ms = int(self._client.pttl(keys.HELD))
        except RedisUnavailable:
            return RETRY_S
        return None if left_ms == -2 else max(0, left_ms) / 1000
