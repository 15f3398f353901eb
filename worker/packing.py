"""Which of the rows in hand make the next forward pass. Pure: costs in, positions out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """What packing needs to know of a row."""

    #: Estimated cost without padding, in the engine's own unit.
    cost: int
    #: 0 for the most urgent priority.
    rank: int = 0
    #: Was in a device's hands when its process ended: it goes alone, so that a poison text is found.
    suspect: bool = False


def padded_cost(costs: Sequence[int], *, pads: bool) -> int:
    """What a pass over rows of these costs takes: all as long as the longest, if the engine pads."""
    return max(costs, default=0) * len(costs) if pads else sum(costs)


def padding(costs: Sequence[int], *, pads: bool) -> float:
    """Share of a pass's cost that is padding, 0..1."""
    whole = padded_cost(costs, pads=pads)
    return (whole - sum(costs)) / whole if whole else 0.0


def pack(rows: Sequence[Candidate], *, budget: int, pads: bool) -> list[int]:
    """Positions of the rows to speak next, ascending; at least one if there are any.

    The first row of the most urgent rank always goes. Others join in order of rank and then, where padding costs
    something, of likeness in length, as long as the padded cost stays within ``budget``. A row that alone costs more
    than the budget goes alone.
    """
    if not rows:
        return []
    head = min(range(len(rows)), key=lambda at: (rows[at].rank, at))
    if rows[head].suspect:
        return [head]
    others = [at for at, row in enumerate(rows) if at != head and not row.suspect]
    distance = (lambda at: abs(rows[at].cost - rows[head].cost)) if pads else (lambda _: 0)
    others.sort(key=lambda at: (rows[at].rank, distance(at), at))
    taken, longest, total = [head], rows[head].cost, rows[head].cost
    for at in others:
        cost = rows[at].cost
        longest_then = max(longest, cost)
        if (longest_then * (len(taken) + 1) if pads else total + cost) <= budget:
            taken.append(at)
            longest, total = longest_then, total + cost
    return sorted(taken)
