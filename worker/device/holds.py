"""The hold watcher: rings the doorbell when nothing is held any more, even if no scheduler runs."""

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

#: How long after the expected end of a hold it is looked at, in seconds.
LATE_S = 0.1
#: Pause before a Redis that does not answer is asked again, in seconds.
RETRY_S = 1.0


class HoldWatcher:
    """Rings for held work that a device has found.

    A scheduler rings when it ends a hold. A scheduler that was killed does not: its hold expires, and without this
    watcher no process would notice that something waits.
    """

    def __init__(self, client: redis.Redis, ring: Callable[[], None]) -> None:
        self._client = client
        self._ring = ring
        self._lock = threading.Lock()
        self._watching = False

    def watch(self) -> None:
        """Watch, in a thread of its own, until nothing is held, and then ring."""
        with self._lock:
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._run, name="holds", daemon=True).start()

    def _run(self) -> None:
        while (left_s := self._left_s()) is not None:
            time.sleep(left_s + LATE_S)
        with self._lock:
            self._watching = False
        _log.info("hold_over")
        self._ring()

    def _left_s(self) -> float | None:
        """Seconds until the hold ends unless it is renewed; None if nothing is held."""
        try:
            with redis_errors():
                left_ms = int(self._client.pttl(keys.HELD))
        except RedisUnavailable:
            return RETRY_S
        return None if left_ms == -2 else max(0, left_ms) / 1000
