"""A backlog whose waits are those of virtual time: entries of lanes carry the server's real time."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable

import redis

from stentor.jobs.lanes import LaneState
from stentor.jobs.store import Backlog


class VirtualBacklog(Backlog):
    """The backlog, told when it is and what was submitted when."""

    def __init__(self, client: redis.Redis, *, lease_s: float, now: Callable[[], float]) -> None:
        super().__init__(client, lease_s=lease_s)
        self._now = now
        self._real_ms: list[int] = [0]
        self._virtual: list[float] = [now()]

    def submits(self) -> None:
        """Note that something is put into lanes next."""
        self._real_ms.append(int(time.time() * 1000))
        self._virtual.append(self._now())

    def lanes(self) -> list[LaneState]:
        """All lanes in which something waits, and since when in virtual time."""
        return [state._replace(oldest_at=self._came(state.oldest_at)) for state in super().lanes()]

    def _came(self, real_s: float) -> float:
        return self._virtual[bisect.bisect_right(self._real_ms, round(real_s * 1000)) - 1]
