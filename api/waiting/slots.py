"""How many requests may wait at the same time.

A request that waits holds a thread. So that the others are always answered, waits get a part of the threads only, and
the waits of one key a part of that.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

#: Shares of a process's threads: of all waits, and of those of one key.
ALL_SHARE, KEY_SHARE = 0.75, 0.5


class WaitSlots:
    """Counts the waits of one process. Safe for threads."""

    def __init__(self, threads: int) -> None:
        self._all_max = max(1, int(threads * ALL_SHARE))
        self._key_max = max(1, int(threads * KEY_SHARE))
        self._by_key: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def slot(self, key_id: str) -> Iterator[bool]:
        """Whether this key may have one more wait; it has it until the end of the block."""
        allowed = self._take(key_id)
        try:
            yield allowed
        finally:
            if allowed:
                self._release(key_id)

    def _take(self, key_id: str) -> bool:
        with self._lock:
            allowed = self._by_key.total() < self._all_max and self._by_key[key_id] < self._key_max
            if allowed:
                self._by_key[key_id] += 1
            return allowed

    def _release(self, key_id: str) -> None:
        with self._lock:
            self._by_key[key_id] -= 1
            if not self._by_key[key_id]:
                del self._by_key[key_id]
