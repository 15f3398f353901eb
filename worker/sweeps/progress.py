"""Progress: each sweep looks at so much and no more, and goes on where the one before it stopped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors

#: Looks at a page of one place, from behind what it is given, or from its beginning if that is empty. Answers with the
#: last that it looked at, empty at the end of the place, and how many it looked at.
Look = Callable[[str, str], tuple[str, int]]


class Progress:
    """Where each sweep goes on, in Redis.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def get(self, name: str) -> str:
        """Where the sweep of that name goes on; empty at the beginning."""
        with redis_errors():
            return str(self._client.hget(keys.SWEEP_STATE, name) or "")

    def put(self, name: str, place: str) -> None:
        """Let the next sweep go on here; empty for the beginning."""
        with redis_errors():
            if place:
                self._client.hset(keys.SWEEP_STATE, name, place)
            else:
                self._client.hdel(keys.SWEEP_STATE, name)

    def since_s(self, now_s: float) -> float:
        """Since when this Redis knows of sweeps, in seconds since the epoch."""
        with redis_errors():
            self._client.hsetnx(keys.SWEEP_STATE, "since", str(now_s))
            return float(str(self._client.hget(keys.SWEEP_STATE, "since")))

    def walk(self, name: str, places: Iterable[str], look: Look, *, at_most: int) -> None:
        """Go through places page by page, from where the last walk of that name stopped, until ``at_most`` were looked
        at or the last place is done; then the next walk begins anew. An empty place counts as one.
        """
        ordered = sorted(places)
        place, _, after = self.get(name).partition("\n")
        at = bisect_left(ordered, place)
        if at < len(ordered) and ordered[at] != place:
            after = ""
        left = at_most
        while at < len(ordered) and left > 0:
            after, looked_at = look(ordered[at], after)
            left -= max(1, looked_at)
            if not after:
                at += 1
        self.put(name, f"{ordered[at]}\n{after}" if at < len(ordered) else "")
