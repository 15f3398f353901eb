"""A short cache of API keys: looking up the key costs a tenth of a submission."""

from __future__ import annotations

import threading
import time

from stentor.owners.access import ApiKey, KeyStore, raise_if_expired

#: How long a key is used without looking it up again, in seconds; a revoked key works at most this long.
KEY_TTL_S = 1.0
#: Maximum number of cached keys; at one more, the cache is cleared.
MAX_KEYS = 10_000


class KeyMemory:
    """Keys by their secret. Only existing keys are cached, so a new key works at once. Thread-safe."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, ApiKey]] = {}

    def find(self, secret: str) -> ApiKey:
        """The key of this secret.

        Raises:
            KeyInvalid: the key was never issued, or was revoked.
            KeyExpired: the key has expired.
            RedisUnavailable: Redis does not answer.
        """
        read_at, key = self._known.get(secret, (float("-inf"), None))
        if key is not None and time.monotonic() - read_at < KEY_TTL_S:
            raise_if_expired(key)
            return key
        now = time.monotonic()
        key = self._store.find(secret)
        with self._lock:
            if len(self._known) >= MAX_KEYS:
                self._known.clear()
            self._known[secret] = (now, key)
        return key
