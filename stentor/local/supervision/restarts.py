"""Decides whether and when a process that died is started again. Pure: the time is an argument."""

from __future__ import annotations

import dataclasses

#: A process that lived this long was healthy: its earlier deaths no longer count.
HEALTHY_S = 20.0
#: Waits before the second, third, ... start in a row; the first restart is immediate. The last one repeats.
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
#: After so many fast deaths in a row the cause is not chance, and a person must see it.
MOST_FAST_DEATHS = 6
#: The same for a process that has never answered since the stack was started: most likely it is set up wrongly.
MOST_FIRST_DEATHS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """How a process has fared: when it was last started, and its fast deaths in a row."""

    started_at_s: float
    fast_deaths: int = 0
    #: Whether it has ever answered.
    was_ready: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restart:
    """Start it again, not before ``at_s``."""

    at_s: float
    fast_deaths: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Do not start it again: it died fast too often."""

    fast_deaths: int


def after_death(record: Record, *, now_s: float) -> Restart | GiveUp:
    """What to do with a process that has just died."""
    lived_s = now_s - record.started_at_s
    fast_deaths = 1 if lived_s >= HEALTHY_S else record.fast_deaths + 1
    if fast_deaths >= (MOST_FAST_DEATHS if record.was_ready else MOST_FIRST_DEATHS):
        return GiveUp(fast_deaths=fast_deaths)
    wait_s = BACKOFF_S[min(fast_deaths, len(BACKOFF_S)) - 1]
    return Restart(at_s=now_s + wait_s, fast_deaths=fast_deaths)
