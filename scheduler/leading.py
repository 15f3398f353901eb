"""Leading: of all schedulers one at a time acts for the cluster, under a number that grows with each new leader."""

from __future__ import annotations

import uuid
from typing import Final

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, script

#: How long a leader that is not heard of keeps its place, in seconds: ten ticks.
LEASE_S: Final = 10.0


class Leader:
    """One scheduler's claim to act for the cluster.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer; nobody acts for the cluster then.
    """

    def __init__(self, client: redis.Redis, name: str) -> None:
        """``name`` is for people: which scheduler it is. Two of the same name are told apart."""
        self._client = client
        self._name = f"{name}/{uuid.uuid4().hex[:12]}"
        self._lead = script(client, "leases/lead")

    def token(self) -> int | None:
        """The number under which this scheduler acts until it asks again, at each tick; None while another leads.

        It is a fencing token: whatever changes something for the cluster compares it with ``keys.FENCE`` at that
        moment, so that a leader that was frozen and has not asked since changes nothing. It stays the same for as long
        as a leader renews it, and grows with each new one, also when Redis has lost its data.
        """
        return self._asked(LEASE_S) or None

    def resign(self) -> None:
        """Let another lead at once."""
        self._asked(0)

    def _asked(self, lease_s: float) -> int:
        with redis_errors():
            return int(self._lead(keys=[keys.LEADER, keys.FENCE], args=[self._name, round(lease_s * 1000)]))
