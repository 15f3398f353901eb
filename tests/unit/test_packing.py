"""Which rows make the next forward pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.packing import Candidate, pack, padded_cost, padding


def rows(*costs: int) -> list[Candidate]:
    return [Candidate(cost=cost) for cost in costs]


def test_nothing_in_hand_makes_no_batch() -> None:
    assert pack([], budget=100, pads=True) == []


@pytest.mark.parametrize(
    ("costs", "budget", "pads", "expected"),
    [
        ((10, 10, 10), 100, True, [0, 1, 2]),
        ((10, 10, 10), 20, True, [0, 1]),
        ((10, 40, 12), 60, True, [0, 2]),  # like in length; with the 40 it would cost 80
        ((10, 40, 12), 62, False, [0, 1, 2]),  # no padding: it is the sum that counts
        ((10, 40, 12), 50, False, [0, 1]),
        ((500, 10), 100, True, [0]),  # more than the budget: alone
    ],
)
def test_rows_join_as_long_as_the_padded_cost_is_within_the_budget(
    costs: tuple[int, ...], budget: int, pads: bool, expected: list[int]
) -> None:
    assert pack(rows(*costs), budget=budget, pads=pads) == expected


def test_the_most_urgent_row_goes_before_the_oldest() -> None:
    mixed = [Candidate(cost=50, rank=2), Candidate(cost=50, rank=2), Candidate(cost=60, rank=0)]
    assert pack(mixed, budget=120, pads=True) == [0, 2]
    assert pack(mixed, budget=60, pads=True) == [2]


def test_a_suspect_goes_alone_and_joins_nobody() -> None:
    mixed = [Candidate(cost=5, suspect=True), Candidate(cost=5)]
    assert pack(mixed, budget=100, pads=True) == [0]
    assert pack(mixed[::-1], budget=100, pads=True) == [0]


def test_padding_is_the_share_that_nobody_hears() -> None:
    assert padded_cost([10, 40], pads=True) == 80
    assert padding([10, 40], pads=True) == 0.375
    assert padding([10, 40], pads=False) == 0.0
    assert padding([], pads=True) == 0.0


candidates = st.lists(
    st.builds(Candidate, cost=st.integers(1, 1000), rank=st.integers(0, 2), suspect=st.booleans()), max_size=60
)


@given(candidates, st.integers(1, 5000), st.booleans())
def test_the_budget_is_never_exceeded_but_by_a_row_alone(hand: list[Candidate], budget: int, pads: bool) -> None:
    taken = pack(hand, budget=budget, pads=pads)
    assert taken == sorted(set(taken))
    assert bool(taken) == bool(hand)
    assert len(taken) <= 1 or padded_cost([hand[at].cost for at in taken], pads=pads) <= budget


@given(candidates, st.integers(1, 5000), st.booleans())
def test_every_row_is_taken_once_and_the_oldest_of_the_most_urgent_first(
    hand: list[Candidate], budget: int, pads: bool
) -> None:
    left = list(enumerate(hand))
    seen: list[int] = []
    while left:
        best = min(row.rank for _, row in left)
        oldest = next(at for at, row in left if row.rank == best)
        taken = {left[at][0] for at in pack([row for _, row in left], budget=budget, pads=pads)}
        assert oldest in taken
        seen += sorted(taken)
        left = [(at, row) for at, row in left if at not in taken]
    assert sorted(seen) == list(range(len(hand)))
