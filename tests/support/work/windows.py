"""When the next window begins, which only tests ask."""

from __future__ import annotations

import math

from stentor.days import DAY_S
from stentor.devices.windows import FOR_EVER_DAYS, LOOK_AHEAD_DAYS, Windows, _spells


def next_start(windows: Windows, now: float) -> float | None:
    """When a window begins after ``now``, in seconds since the epoch; None if none ever does."""
    if windows.end_of(now) == math.inf:
        return None
    day = math.floor(now / DAY_S)
    starts = (spell.start for ahead in (LOOK_AHEAD_DAYS, FOR_EVER_DAYS) for spell in _spells(windows.spans, day, ahead))
    return next((start for start in starts if start > now), None)
