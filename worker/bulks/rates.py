"""How fast bulks go, from what the feeder sees of them from round to round."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

#: Least time between two measurements of a rate, in seconds.
EVERY_S = 2.0
#: After this time a change of pace has gone into the rate by 63%, in seconds.
SMOOTHING_S = 15.0


@dataclasses.dataclass(kw_only=True)
class _Pace:
    settled: int
    at_s: float
    told_at_s: float
    rate: float | None = None


class Rates:
    """Outcomes per second of each bulk, exponentially smoothed."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def of(self, bulk_id: str, settled: int, now_s: float) -> float | None:
        """The rate, when it has just been measured anew; None in between. ``settled`` falls when rows are retried."""
        pace = self._paces.setdefault(bulk_id, _Pace(settled=settled, at_s=now_s, told_at_s=now_s))
        took_s = now_s - pace.at_s
        if took_s < EVERY_S:
            return None
        seen = max(0, settled - pace.settled) / took_s
        weight = 1 - math.exp(-took_s / SMOOTHING_S)
        pace.rate = seen if pace.rate is None else pace.rate + weight * (seen - pace.rate)
        pace.settled, pace.at_s = settled, now_s
        return pace.rate

    def total(self, bulk_ids: Iterable[str]) -> float:
        """The rate of these bulks together."""
        return sum(self._paces[one].rate or 0.0 for one in bulk_ids if one in self._paces)

    def progress_is_due(self, bulk_id: str, now_s: float, *, every_s: float) -> bool:
        """Whether it is time to tell about a bulk again."""
        pace = self._paces[bulk_id]
        if now_s - pace.told_at_s < every_s:
            return False
        pace.told_at_s = now_s
        return True

    def forget(self, bulk_id: str) -> None:
        """Keep nothing of a bulk."""
        self._paces.pop(bulk_id, None)
