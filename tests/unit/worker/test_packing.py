"""Which rows make the next forward pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batching.packing import LEAST_SHARE, URGENT_SHARE, Candidate, pack, padded_cost, padding


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
        ((20, 100, 90, 19), 60, True, [0, 3]),
        ((20, 100, 90, 19), 200, True, [0, 1]),  # 20 and 19 would not make half a pass, so the 20 is padded
        ((80, 100, 60, 90, 70), 300, True, [0, 1, 3]),  # 240 of 270 is more than 210 of 240, or 270 of 300
        ((100, 30, 30, 30), 300, True, [0]),  # not full without them, but they would be mostly padding
        ((100, 30), 300, True, [0, 1]),  # nobody is left behind: company costs less than a pass of one's own
    ],
)
def test_rows_join_as_long_as_the_padded_cost_is_within_the_budget(
    costs: tuple[int, ...], budget: int, pads: bool, expected: list[int]
) -> None:
    assert pack(rows(*costs), budget=budget, pads=pads) == expected


def test_the_most_urgent_row_goes_before_the_oldest() -> None:
    mixed = [Candidate(cost=50, rank=2), Candidate(cost=50, rank=2), Candidate(cost=60, rank=0)]
    assert pack(mixed, budget=240, pads=True) == [0, 2]
    assert pack(mixed, budget=60, pads=True) == [2]


@pytest.mark.parametrize("pads", [True, False])
def test_an_interactive_row_has_company_for_half_of_the_budget(pads: bool) -> None:
    mixed = [Candidate(cost=10, rank=2) for _ in range(20)] + [Candidate(cost=10, rank=0)]
    assert pack(mixed, budget=100, pads=pads) == [0, 1, 2, 3, 20]
    assert len(pack(mixed[:20], budget=100, pads=pads)) == 10
    assert len(pack(mixed[20:] * 20, budget=100, pads=pads)) == 10


def test_interactive_rows_of_all_lengths_go_together() -> None:
    mixed = [Candidate(cost=10), Candidate(cost=100), *[Candidate(cost=90, rank=2)] * 20]
    assert pack(mixed, budget=800, pads=True) == [0, 1, 2, 3]


def test_without_rows_like_it_a_short_interactive_row_goes_with_long_ones() -> None:
    mixed = [Candidate(cost=10), *[Candidate(cost=90, rank=2)] * 20]
    assert pack(mixed, budget=1000, pads=True) == [0, 1, 2, 3, 4]


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


@given(st.lists(st.integers(1, 1000), max_size=200), st.integers(1, 20_000))
def test_padding_is_bounded_where_anybody_is_left_behind(costs: list[int], budget: int) -> None:
    taken = [costs[at] for at in pack([Candidate(cost=cost, rank=2) for cost in costs], budget=budget, pads=True)]
    oldest, company = taken[:1], taken[1:]
    if company and len(taken) < len(costs):
        assert min(company) >= LEAST_SHARE * max(taken)
        assert padding(company, pads=True) <= 1 - LEAST_SHARE
        assert oldest == costs[:1]


@given(candidates, st.integers(1, 5000), st.booleans())
def test_less_urgent_rows_make_no_pass_longer_than_half_a_budget_beside_an_interactive_one(
    hand: list[Candidate], budget: int, pads: bool
) -> None:
    taken = [hand[at] for at in pack(hand, budget=budget, pads=pads)]
    ranks = {row.rank for row in taken}
    if 0 in ranks and len(ranks) > 1:
        assert padded_cost([row.cost for row in taken], pads=pads) <= round(URGENT_SHARE * budget)


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
