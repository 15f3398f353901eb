"""Which of the ready rows make the next forward pass. Pure: costs in, positions out."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Sequence

#: A row joins a pass that is full without it only if its cost is at least this share of the longest row's cost, so that
#: at most the rest of a row is padding. Lengths of one lane differ by less (1 / 1.5), so its rows can always share.
LEAST_SHARE = 0.6
#: A pass with an interactive row is filled with less urgent rows only up to this share of the budget, so that it ends
#: sooner. Calculated with the curve of worker/engines/simulated for an L4, with one interactive text a second and a
#: backlog: P99 from submission to speech is 8.5 s with this limit, and 12.7 s without it.
URGENT_SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """What packing needs to know about a row."""

    #: Estimated cost without padding, in the engine's own unit.
    cost: int
    #: 0 for the most urgent priority.
    rank: int = 0
    #: A device held it when its process ended: it goes alone, so that a poison text is found.
    suspect: bool = False


def padded_cost(costs: Sequence[int], *, pads: bool) -> int:
    """Cost of a pass over rows of these costs: if the engine pads, each row costs as much as the longest one."""
    return max(costs, default=0) * len(costs) if pads else sum(costs)


def padding(costs: Sequence[int], *, pads: bool) -> float:
    """Share of a pass's cost that is padding, 0..1."""
    whole = padded_cost(costs, pads=pads)
    return (whole - sum(costs)) / whole if whole else 0.0


def pack(rows: Sequence[Candidate], *, budget: int, pads: bool) -> list[int]:
    """Positions of the rows to speak next, ascending; at least one if there are any.

    The first row of the most urgent rank always goes. Others join in order of rank, as long as the padded cost stays
    within ``budget``; next to rank 0, less urgent rows within ``URGENT_SHARE`` of it. If the engine pads, all rows of
    the first row's rank join if they fit together, because a shared pass costs less than two passes. Otherwise those
    rows join that fill the budget with the least padding, each at least ``LEAST_SHARE`` of the longest. A row that
    alone costs more than the budget goes alone.
    """
    if not rows:
        return []
    head = min(range(len(rows)), key=lambda at: (rows[at].rank, at))
    if rows[head].suspect:
        return [head]
    others: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        if at != head and not row.suspect:
            others.setdefault(row.rank, []).append(at)
    costs = [row.cost for row in rows]
    taken = [head]
    for rank in sorted(others):
        room = round(URGENT_SHARE * budget) if rank > rows[head].rank == 0 else budget
        if not pads:
            taken = _in_order(taken, others[rank], costs, room)
        elif rank == rows[head].rank and padded_cost([costs[at] for at in [head, *others[rank]]], pads=True) <= room:
            taken += others[rank]
        else:
            taken += _alike(taken, others[rank], costs, room)
    return sorted(taken)


def _in_order(taken: list[int], others: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """The taken rows and, oldest first, those others that fit as well when nothing is padded."""
    total = sum(costs[at] for at in taken)
    for at in others:
        if total + costs[at] <= budget:
            taken = [*taken, at]
            total += costs[at]
    return taken


def _alike(taken: Sequence[int], others: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """Those of the others that fill the rest of the budget with the least padding.

    First rows of similar length: then no row of the pass is padded by more than ``LEAST_SHARE`` allows. If they do not
    fill half of the budget, a pass of longer rows speaks more, although the few taken rows are padded in it.
    """
    shortest, longest = min(costs[at] for at in taken), max(costs[at] for at in taken)
    found = _window(taken, others, costs, budget, highest=max(longest, int(shortest / LEAST_SHARE)))
    if 2 * padded_cost([costs[at] for at in [*taken, *found]], pads=True) < budget:
        found = _window(taken, others, costs, budget, highest=budget)
    return found


def _window(
    taken: Sequence[int], others: Sequence[int], costs: Sequence[int], budget: int, *, highest: int
) -> list[int]:
    """Those of the others, neighbours in length, that bring the most cost into the padded budget.

    Tries each length that the longest row could have, up to ``highest``, and takes rows from there downwards. All
    choices have the same budget, so the choice with the most unpadded cost is the one with the least padding.
    """
    longest = max(costs[at] for at in taken)
    # The oldest of equal rows come last, so that they are taken first.
    pool = sorted(others, key=lambda at: (costs[at], -at))
    lengths = [costs[at] for at in pool]
    sums = list(itertools.accumulate(lengths, initial=0))
    best, chosen = 0, (0, 0)
    for top in sorted(
        {longest, *lengths[bisect.bisect_left(lengths, longest) : bisect.bisect_right(lengths, highest)]}
    ):
        until = bisect.bisect_right(lengths, top)
        room = budget // top - len(taken)
        first = max(until - room, bisect.bisect_left(lengths, LEAST_SHARE * top))
        if room > 0 and first < until and sums[until] - sums[first] > best:
            best, chosen = sums[until] - sums[first], (first, until)
    return pool[slice(*chosen)]
