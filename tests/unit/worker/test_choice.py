"""Which lanes a free device draws from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import Lane, LaneState
from worker.claiming.choice import choose

NOW = 0.0


def waits(model: str, priority: str, length: int, oldest_wait_s: float = 1.0) -> LaneState:
    return LaneState(lane=Lane(model=model, priority=priority, length=length), waiting=3, oldest_at=NOW - oldest_wait_s)


def chosen(*lanes: LaneState, resident: tuple[str, ...] = ("a",), max_wait_s: float = 600) -> list[str]:
    found = choose(NOW, lanes, speaks={"a", "b"}, resident=resident, max_wait_s=max_wait_s)
    return [
        f"{draw.lane.model}:{draw.lane.priority}:{draw.lane.length}" + (f" x{draw.at_most}" if draw.at_most else "")
        for draw in found
    ]


def test_nothing_waits() -> None:
    assert chosen() == []


def test_the_most_urgent_priority_goes_first_then_who_waited_longest() -> None:
    assert chosen(
        waits("a", "bulk", 2, 500),
        waits("a", "standard", 2, 3),
        waits("a", "standard", 9, 2),
        waits("a", "interactive", 5),
    ) == ["a:interactive:5", "a:standard:2", "a:standard:9", "a:bulk:2"]
    assert chosen(waits("a", "bulk", 2, 5), waits("a", "bulk", 7, 6))[0] == "a:bulk:7"


def test_a_batch_is_filled_from_neighbouring_lengths_and_then_from_lower_priorities() -> None:
    assert chosen(
        waits("a", "standard", 4, 9),
        waits("a", "standard", 1),
        waits("a", "standard", 5),
        waits("a", "bulk", 4),
        waits("a", "standard", 2),
    ) == ["a:standard:4", "a:standard:5", "a:standard:2", "a:standard:1", "a:bulk:4"]


def test_a_resident_model_goes_before_one_that_must_be_loaded() -> None:
    assert chosen(waits("b", "standard", 1, 50), waits("a", "standard", 1, 2)) == ["a:standard:1"]
    assert chosen(waits("b", "standard", 1, 50), waits("a", "standard", 1, 2), resident=()) == ["b:standard:1"]


def test_a_more_urgent_text_has_its_model_loaded() -> None:
    assert chosen(waits("b", "interactive", 1), waits("a", "standard", 1)) == ["b:interactive:1"]


def test_the_head_of_a_lane_that_has_waited_too_long_counts_as_interactive_and_only_the_head() -> None:
    assert chosen(waits("a", "interactive", 1, 2), waits("a", "bulk", 3, 600)) == [
        "a:bulk:3 x1", "a:interactive:1", "a:bulk:3",
    ]  # fmt: skip
    assert chosen(waits("a", "interactive", 1, 2), waits("a", "bulk", 3, 599)) == ["a:interactive:1", "a:bulk:3"]


def test_of_heads_that_are_late_the_latest_goes_ahead_and_only_of_something_more_urgent() -> None:
    late = [waits("a", "bulk", 3, 700), waits("a", "bulk", 9, 900), waits("a", "standard", 5, 800)]
    assert chosen(*late, waits("a", "interactive", 1, 2))[:2] == ["a:bulk:9 x1", "a:interactive:1"]
    assert chosen(*late) == ["a:bulk:9 x1", "a:standard:5", "a:bulk:9", "a:bulk:3"]
    assert chosen(*late[:2]) == ["a:bulk:9", "a:bulk:3"]


def test_neither_interactive_texts_nor_aged_ones_of_another_model_starve() -> None:
    assert chosen(waits("a", "interactive", 1, 0.5), waits("b", "bulk", 3, 600))[0] == "b:bulk:3 x1"
    assert chosen(waits("a", "interactive", 1, 1.5), waits("b", "bulk", 3, 600))[0] == "a:interactive:1"
    assert chosen(waits("a", "interactive", 1, 1.5), waits("b", "bulk", 3, 1200))[0] == "b:bulk:3 x1"


def test_a_lane_of_a_model_that_this_device_does_not_have_is_left_to_others() -> None:
    assert chosen(waits("c", "interactive", 1)) == []


lane_states = st.builds(
    waits, st.sampled_from("abc"), st.sampled_from(PRIORITIES), st.integers(0, 9), st.floats(0, 2000)
)


@given(st.lists(lane_states, unique_by=lambda state: state.lane))
def test_all_lanes_of_one_model_are_drawn_from_once_beside_the_head_that_is_latest(lanes: list[LaneState]) -> None:
    found = choose(NOW, lanes, speaks={"a", "b"}, resident={"a"}, max_wait_s=600)
    speakable = [state for state in lanes if state.lane.model in {"a", "b"}]
    assert bool(found) == bool(speakable)
    assert len({draw.lane.model for draw in found}) <= 1
    mates = [state for state in speakable if found and state.lane.model == found[0].lane.model]
    first_rank = min((state.lane.rank for state in speakable), default=0)
    late = [state for state in mates if state.wait_s(NOW) >= 600 and state.lane.rank > first_rank]
    heads, whole = [draw for draw in found if draw.at_most], [draw for draw in found if not draw.at_most]
    assert [(draw.rank, draw.at_most) for draw in heads] == [(0, 1)] * bool(late)
    assert {draw.lane for draw in heads} <= {state.lane for state in late}
    assert sorted(draw.lane for draw in whole) == sorted(state.lane for state in mates)
    assert [draw.rank for draw in whole] == sorted(draw.rank for draw in whole)
    assert found[: len(heads)] == heads


def test_a_model_that_is_resident_on_an_idle_device_is_left_to_that_one_for_a_second() -> None:
    waiting = waits("b", "standard", 1, 0.9)
    assert choose(NOW, [waiting], speaks={"a", "b"}, resident={"a"}, max_wait_s=600, elsewhere={"b"}) == []
    late = waits("b", "standard", 1, 1.0)
    (draw,) = choose(NOW, [late], speaks={"a", "b"}, resident={"a"}, max_wait_s=600, elsewhere={"b"})
    assert draw.lane.model == "b"
    (draw,) = choose(NOW, [waiting], speaks={"a", "b"}, resident={"a", "b"}, max_wait_s=600, elsewhere={"b"})
    assert draw.lane.model == "b"
