"""Leading: one scheduler at a time acts for the cluster, with a number that grows with each new leader."""

from __future__ import annotations

import uuid
from typing import Final

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, script

#: How long a leader stays leader without renewing, in seconds: ten ticks.
LEASE_S: Final = 10.0


class Leader:
    """One scheduler's claim to act for the cluster.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer; then no scheduler acts for the cluster.
    """

    def __init__(self, client: redis.Redis, name: str) -> None:
        """``name`` is for people. Two schedulers may have the same name."""
        self._client = client
        self._name = f"{name}/{uuid.uuid4().hex[:12]}"
        self._lead = script(client, "leases/lead")

    def token(self) -> int | None:
        """The fencing token of this scheduler until the next call, one tick later; None while another leads.

        Each change for the cluster compares it with ``keys.FENCE``, so a leader that was frozen and has not renewed
        changes nothing. It stays the same while a leader renews it, and grows with each new leader, even after Redis
        has lost its data.
        """
        return self._renew(LEASE_S) or None

    def resign(self) -> None:
        """Let another scheduler lead at once."""
        self._renew(0)

    def _renew(self, lease_s: float) -> int:
        with redis_errors():
            return int(self._lead(keys=[keys.LEADER, keys.FENCE], args=[self._name, round(lease_s * 1000)]))
