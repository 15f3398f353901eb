"""The keys that requests came with, remembered for a moment: looking each up anew costs a tenth of a submission."""

from __future__ import annotations

import threading
import time

from stentor.owners.access import ApiKey, KeyStore, raise_if_expired

#: How long a key is believed without looking again, in seconds; a revoked one is refused after it at the latest.
KEYS_GOOD_FOR_S = 1.0
#: Keys that are remembered; one more, and all are forgotten.
MOST_KEYS = 10_000


class KeyMemory:
    """Keys by their secret. Only those that exist are remembered, so a new one is good at once. Safe for threads."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, ApiKey]] = {}

    def find(self, secret: str) -> ApiKey:
        """The key of this secret.

        Raises:
            KeyInvalid: no such key was given out, or it was revoked.
            KeyExpired: its time is over.
            RedisUnavailable: Redis does not answer.
        """
        read_at, key = self._known.get(secret, (float("-inf"), None))
        if key is not None and time.monotonic() - read_at < KEYS_GOOD_FOR_S:
            raise_if_expired(key)
            return key
        now = time.monotonic()
        key = self._store.find(secret)
        with self._lock:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[secret] = (now, key)
        return key
