"""Leases: a key that one holder at a time has, for as long as it renews it in time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import redis

from stentor import log
from stentor.errors import RedisUnavailable
from stentor.redis.client import redis_errors, script

_log = log.get(__name__)


class Lease:
    """One holder's claim to a key. When it is neither renewed in time nor released, another may acquire it.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, key: str, *, lease_s: float, token: str | None = None) -> None:
        """``token`` is what Redis stores under the key; no two holders may have the same."""
        self.key = key
        self.token = token or uuid.uuid4().hex
        self._lease_ms = round(lease_s * 1000)
        self._hold = script(client, "leases/hold")
        self._renew = script(client, "leases/renew")

    def acquire(self) -> bool:
        """Whether this holder has the lease now: it is acquired, or renewed."""
        return self.hold() == self.token

    def hold(self, *, replace: str = "") -> str:
        """Acquire or renew the lease if no other holder has it; the token of the holder after that.

        ``replace`` is the token of a holder that is known to be dead: its lease is taken over at once.
        """
        with redis_errors():
            return str(self._hold(keys=[self.key], args=[self.token, self._lease_ms, replace]))

    def renew(self) -> bool:
        """Whether the lease is still held; it lasts for longer then. An expired lease is not acquired again."""
        with redis_errors():
            return bool(self._renew(keys=[self.key], args=[self.token, self._lease_ms]))

    def release(self) -> None:
        """Let another holder acquire the lease at once."""
        with redis_errors():
            self._hold(keys=[self.key], args=[self.token, 0, ""])


class Renewal:
    """Renews a lease from a thread of its own."""

    def __init__(self, renew: Callable[[], bool], *, every_s: float, key: str) -> None:
        """``renew`` is called until it returns False; while Redis does not answer, it is called again."""
        self._renew = renew
        self._every_s = every_s
        self._key = key
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End; when this returns within ``timeout_s``, ``renew`` is not called any more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                if not self._renew():
                    return
            except RedisUnavailable as exc:
                # A Redis that is away for a moment forgets no lease.
                _log.warning("lock_not_renewed", key=self._key, reason=str(exc))
