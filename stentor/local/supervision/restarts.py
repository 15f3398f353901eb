"""Decides whether and when to restart a process that died. Pure: the time is an argument."""

from __future__ import annotations

import dataclasses

#: A process that lived this long was healthy, in seconds: its earlier deaths no longer count.
HEALTHY_S = 20.0
#: Waits before restarts in a row, in seconds; the first restart is immediate, the last wait repeats.
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
#: Maximum number of fast deaths in a row; after that a person must look at the cause.
MAX_FAST_DEATHS = 6
#: The same for a process that was never ready since the start of the stack: its setup is probably wrong.
MAX_FIRST_DEATHS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestartHistory:
    """When a process was last started, and its fast deaths in a row."""

    started_at_s: float
    fast_deaths: int = 0
    #: Whether it was ever ready.
    was_ready: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restart:
    """Start it again, not before ``at_s``."""

    at_s: float
    fast_deaths: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Do not start it again: it died too often."""

    fast_deaths: int


def after_death(history: RestartHistory, *, now_s: float) -> Restart | GiveUp:
    """Whether and when to restart a process that has just died."""
    lived_s = now_s - history.started_at_s
    fast_deaths = 1 if lived_s >= HEALTHY_S else history.fast_deaths + 1
    if fast_deaths >= (MAX_FAST_DEATHS if history.was_ready else MAX_FIRST_DEATHS):
        return GiveUp(fast_deaths=fast_deaths)
    wait_s = BACKOFF_S[min(fast_deaths, len(BACKOFF_S)) - 1]
    return Restart(at_s=now_s + wait_s, fast_deaths=fast_deaths)
