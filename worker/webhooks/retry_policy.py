"""When to try again: the schedule, the pauses of an endpoint that fails, and what a receiver asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

#: Pauses before each attempt, in seconds: at once, then after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, each
#: counted from the attempt before, as Standard Webhooks 1.0.0 recommends. Together about 76 h.
ATTEMPTS_AFTER_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: Each pause is longer or shorter by up to this share, so that what failed together does not come back together.
JITTER: Final = 0.1
#: Longest pause that a receiver can ask for, in seconds.
MAX_RETRY_AFTER_S: Final = 86_400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a delivery is tried, and an endpoint that fails is left alone."""

    attempts_after_s: Sequence[float] = ATTEMPTS_AFTER_S
    #: Failures in a row from which on an endpoint gets one delivery at a time, after a pause.
    give_up_after: int = 5
    #: The first pause, and the longest; each probe that fails doubles it, in seconds.
    first_pause_s: float = 5.0
    longest_pause_s: float = 120.0


def next_attempt(done: int, *, now: float, attempts_after_s: Sequence[float], draw: float) -> float | None:
    """When to try a delivery again that failed ``done`` times; None if that was the last time.

    ``draw`` is a random number from 0 to 1.
    """
    if done >= len(attempts_after_s):
        return None
    return now + attempts_after_s[done] * (1 + JITTER * (2 * draw - 1))


def retry_after_s(value: str | None, now: float) -> float:
    """The pause that a ``Retry-After`` asks for (RFC 9110: seconds, or a date), at most a day; 0 if for none."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        pause_s = float(text[:12])
    else:
        try:
            pause_s = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return min(MAX_RETRY_AFTER_S, max(0.0, pause_s))
