"""Which lanes a free device draws its next batch from. Pure: no clock, no Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stentor.lanes import Lane, LaneState


def choose(
    lanes: Iterable[LaneState], *, speaks: Collection[str], resident: Collection[str], max_wait_s: float
) -> list[Lane]:
    """The lanes to draw from, in this order; all are of one model, the first decides.

    The most urgent priority goes first, then models that are resident, then who has waited longest. A batch that is
    not full goes on with neighbouring length classes and then with lower priorities of the same model. A lane whose
    oldest job has waited ``max_wait_s`` counts as the most urgent, whether its model is resident or not, so that
    nothing starves.
    """
    open_lanes = [state for state in lanes if state.lane.model in speaks]
    if not open_lanes:
        return []

    def aged(state: LaneState) -> bool:
        return state.oldest_wait_s >= max_wait_s

    def urgency(state: LaneState) -> int:
        return 0 if aged(state) else state.lane.rank

    def order(state: LaneState) -> tuple[int, bool, float]:
        return urgency(state), not aged(state) and state.lane.model not in resident, -state.oldest_wait_s

    head = min(open_lanes, key=order)
    mates = [state for state in open_lanes if state.lane.model == head.lane.model]
    mates.sort(
        key=lambda state: (
            state is not head,
            urgency(state),
            abs(state.lane.length - head.lane.length),
            -state.oldest_wait_s,
        )
    )
    return [state.lane for state in mates]
