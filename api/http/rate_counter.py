"""Counts the requests of API keys in Redis, in a sliding window."""

from __future__ import annotations

import dataclasses
import math
import time

import limits
import redis
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from stentor.redis import keys
from stentor.redis.client import redis_errors

#: The name of the policy in the headers and in Redis: requests are counted by API key.
POLICY = "key"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quota:
    """What is left of a key's rate."""

    limit: int
    window_s: int
    remaining: int
    #: Unix time at which more requests are allowed.
    resets_at: float

    @property
    def reset_s(self) -> int:
        """Whole seconds until more requests are allowed; at least 1."""
        return max(1, math.ceil(self.resets_at - time.time()))


class RateCounter:
    """Two counters per key, however high its rate is; a moving window would store the time of every request."""

    def __init__(self, client: redis.Redis) -> None:
        storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=keys.LIMITS_PREFIX)
        self._window = SlidingWindowCounterRateLimiter(storage)

    def hit(self, key_id: str, rate: str) -> tuple[bool, Quota]:
        """Whether the rate (such as ``100/minute``) allows one more request, and what is left of it.

        Only an allowed request is counted.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        item = limits.parse(rate)
        with redis_errors():
            allowed = self._window.hit(item, key_id, POLICY)
            resets_at, remaining = self._window.get_window_stats(item, key_id, POLICY)
        return allowed, Quota(limit=item.amount, window_s=item.get_expiry(), remaining=remaining, resets_at=resets_at)
