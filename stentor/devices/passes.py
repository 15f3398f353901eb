"""Times of the forward passes of one model on one device, as sums from which their cost curve is fitted.

A pass over rows of costs ``ci`` (in the engine's own unit), of padded cost ``p`` and longest row ``l``, takes about::

    t = a + b l + c p

The same rows one by one would have taken ``n a + (b + c) sum(ci)``. The sums below are all that least squares need, and
sums of several processes, devices of one kind, or days can be added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Positions in the sums: passes, rows, cost of all rows alone, and the products of ``1``, ``l``, ``p`` and ``t``.
NAMES: Final = ("n", "rows", "cost", "l", "p", "ll", "lp", "pp", "t", "lt", "pt")


def sums_of(costs: Sequence[int], *, padded_cost: float, took_s: float) -> tuple[float, ...]:
    """The sums of one pass."""
    longest = max(costs)
    return (
        1,
        len(costs),
        sum(costs),
        longest,
        padded_cost,
        longest * longest,
        longest * padded_cost,
        padded_cost * padded_cost,
        took_s,
        longest * took_s,
        padded_cost * took_s,
    )


def combine_sums(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """The sums of two sets of passes combined."""
    return tuple(mine + theirs for mine, theirs in zip(one, other, strict=True)) if one else tuple(other)
