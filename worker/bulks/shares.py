"""Who may put how many rows into the lanes now: fair among keys, then among the bulks of a key. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

#: Rows that are in the lanes at least, however slowly they are spoken: enough for full batches of like length.
LEAST_ROWS = 500
#: Seconds of work that are in the lanes. What comes new waits about so long behind them.
AHEAD_S = 20.0
#: A bulk gets rows again when it has fewer in the lanes than this part of its share.
LOW_WATER = 0.75


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one bulk stands."""

    bulk_id: str
    #: Whose turn it is: the key that sent it, or its owner.
    key: str
    #: Rows in the lanes or on a device.
    in_lanes: int
    #: Rows that have not entered a lane.
    left: int


def window(most: int, rows_per_s: float) -> int:
    """How many rows of all bulks should be in the lanes at this rate, in rows per second."""
    return min(most, max(LEAST_ROWS, round(rows_per_s * AHEAD_S)))


def fill(wants: Sequence[int], total: int) -> list[int]:
    """``total`` divided so that no one gets more than requested, and no one less than another that requests more
    (max-min fairness; Bertsekas and Gallager, Data Networks, 6.5.2). What cannot be halved goes to the first.
    """
    shares = [0] * len(wants)
    order = sorted(range(len(wants)), key=lambda at: wants[at])
    for done, at in enumerate(order):
        shares[at] = min(wants[at], -(-total // (len(wants) - done)))
        total -= shares[at]
    return shares


def plan(standings: Sequence[Standing], rows: int) -> dict[str, int]:
    """How many rows each bulk may put into the lanes now, when ``rows`` of all of them are to be there."""
    by_key: dict[str, list[Standing]] = {}
    for standing in standings:
        by_key.setdefault(standing.key, []).append(standing)
    of_keys = fill([sum(map(_wants, mine)) for mine in by_key.values()], rows)
    shares: dict[str, int] = {}
    for mine, of_key in zip(by_key.values(), of_keys, strict=True):
        of_bulks = fill([_wants(standing) for standing in mine], of_key)
        shares |= {standing.bulk_id: share for standing, share in zip(mine, of_bulks, strict=True)}
    return {standing.bulk_id: more for standing in standings if (more := _more(standing, shares)) > 0}


def _wants(standing: Standing) -> int:
    return max(0, standing.in_lanes) + standing.left


def _more(standing: Standing, shares: Mapping[str, int]) -> int:
    share = max(1, shares[standing.bulk_id])
    low = standing.in_lanes <= share * LOW_WATER
    return min(standing.left, share - standing.in_lanes) if low else 0
