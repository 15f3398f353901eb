"""From which lanes a free device draws its next batch. Pure: no clock, no Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from stentor.jobs.lanes import Lane, LaneState

#: After this wait an interactive text is as urgent as a text of lower priority that has just become too old. It is
#: about one batch on two cores: a device that speaks an aged text of another model does so for one batch.
INTERACTIVE_PATIENCE_S = 1.0
#: How long a text is left to an idle device that has its model, before a device that must load the model takes it:
#: loading takes seconds, and hearing that there is work takes milliseconds.
YIELD_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """A lane to draw from."""

    lane: Lane
    #: Urgency of the jobs that are drawn: 0 counts as ``interactive``.
    rank: int
    #: Maximum number of jobs to draw; None for no limit but room.
    at_most: int | None = None


def choose(
    now: float,
    lanes: Iterable[LaneState],
    *,
    speaks: Collection[str],
    resident: Collection[str],
    max_wait_s: float,
    elsewhere: Collection[str] = (),
) -> list[Draw]:
    """What to draw at ``now`` (seconds since the epoch), in this order; all lanes are of one model.

    Held lanes are passed over, however late they are. A model that is not resident here, but on an idle device
    (``elsewhere``), is left to that device for a moment.

    The most urgent priority goes first, then resident models, then the longest wait. A batch that is not full continues
    with neighbouring length classes, and then with lower priorities of the same model.

    The first text of a lane that has waited ``max_wait_s`` counts as interactive, whether its model is resident or not,
    so that nothing starves. Only the first text does, so that a backlog that is late as a whole does not delay
    interactive texts. Of the model's late first texts, only the latest goes ahead, and only if a more urgent text would
    go before it: first texts of all lengths in every batch would be mostly padding.
    """
    yields = set(elsewhere) - set(resident)
    open_lanes = [
        state
        for state in lanes
        if state.lane.model in speaks
        and not state.held
        and not (state.lane.model in yields and state.wait_s(now) < YIELD_S)
    ]
    if not open_lanes:
        return []

    def is_old(state: LaneState) -> bool:
        return state.lane.rank > 0 and state.wait_s(now) >= max_wait_s

    def pressure(state: LaneState) -> float:
        return state.wait_s(now) / (max_wait_s if is_old(state) else INTERACTIVE_PATIENCE_S)

    def order(state: LaneState) -> tuple[int, bool, float]:
        rank = 0 if is_old(state) else state.lane.rank
        return rank, not is_old(state) and state.lane.model not in resident, -pressure(state)

    head = min(open_lanes, key=order)
    mates = [state for state in open_lanes if state.lane.model == head.lane.model]
    first_rank = min(state.lane.rank for state in open_lanes)
    passed_over = [state for state in mates if is_old(state) and state.lane.rank > first_rank]
    late = sorted(passed_over, key=lambda state: state.oldest_at)[:1]
    mates.sort(
        key=lambda state: (state.lane.rank, abs(state.lane.length - head.lane.length), state.oldest_at),
    )
    return [Draw(lane=state.lane, rank=0, at_most=1) for state in late] + [
        Draw(lane=state.lane, rank=state.lane.rank) for state in mates
    ]
