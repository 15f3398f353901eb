"""Which lanes a free device draws from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stentor.job import PRIORITIES
from stentor.lanes import Lane, LaneState
from worker.choice import choose


def waits(model: str, priority: str, length: int, oldest_wait_s: float = 1.0) -> LaneState:
    return LaneState(lane=Lane(model=model, priority=priority, length=length), waiting=3, oldest_wait_s=oldest_wait_s)


def chosen(*lanes: LaneState, resident: tuple[str, ...] = ("a",), max_wait_s: float = 600) -> list[str]:
    found = choose(lanes, speaks={"a", "b"}, resident=resident, max_wait_s=max_wait_s)
    return [f"{lane.model}:{lane.priority}:{lane.length}" for lane in found]


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


def test_a_lower_priority_is_not_starved() -> None:
    assert chosen(waits("a", "interactive", 1, 2), waits("a", "bulk", 3, 600))[0] == "a:bulk:3"
    assert chosen(waits("a", "interactive", 1, 2), waits("b", "bulk", 3, 600))[0] == "b:bulk:3"


def test_a_lane_of_a_model_that_this_device_does_not_have_is_left_to_others() -> None:
    assert chosen(waits("c", "interactive", 1)) == []


lane_states = st.builds(
    waits, st.sampled_from("abc"), st.sampled_from(PRIORITIES), st.integers(0, 9), st.floats(0, 2000)
)


@given(st.lists(lane_states, unique_by=lambda state: state.lane))
def test_what_is_chosen_is_of_one_model_and_each_lane_once(lanes: list[LaneState]) -> None:
    found = choose(lanes, speaks={"a", "b"}, resident={"a"}, max_wait_s=600)
    speakable = [state.lane for state in lanes if state.lane.model in {"a", "b"}]
    assert bool(found) == bool(speakable)
    assert len({lane.model for lane in found}) <= 1
    assert len(found) == len(set(found))
    assert {lane for lane in speakable if found and lane.model == found[0].model} == set(found)


@given(st.lists(lane_states, min_size=1, unique_by=lambda state: state.lane))
def test_whoever_has_waited_longest_beyond_the_limit_goes_first(lanes: list[LaneState]) -> None:
    late = [state for state in lanes if state.oldest_wait_s >= 600 and state.lane.model in {"a", "b"}]
    if late:
        first = choose(lanes, speaks={"a", "b"}, resident={"a"}, max_wait_s=600)[0]
        waited = {state.lane: state.oldest_wait_s for state in lanes}
        assert first.rank == 0 or waited[first] >= 600
