"""Who may put how many rows into the lanes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.bulks.rates import Rates
from worker.bulks.shares import Standing, fill, plan, window


def standing(bulk_id: str, key: str = "one", *, in_lanes: int = 0, left: int = 1_000_000) -> Standing:
    return Standing(bulk_id=bulk_id, key=key, in_lanes=in_lanes, left=left)


@pytest.mark.parametrize(
    ("wants", "total", "shares"),
    [
        ([], 10, []),
        ([100], 10, [10]),
        ([3], 10, [3]),
        ([100, 100], 10, [5, 5]),
        ([100, 2, 100], 10, [4, 2, 4]),
        ([1, 1, 1], 10, [1, 1, 1]),
        ([0, 100], 10, [0, 10]),
        ([5, 5, 5], 7, [3, 2, 2]),
    ],
)
def test_what_there_is_is_dealt_out_fairly(wants: list[int], total: int, shares: list[int]) -> None:
    assert fill(wants, total) == shares


@given(st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 20_000))
def test_nobody_gets_more_than_wanted_and_nothing_is_kept_back_from_who_wants_it(wants: list[int], total: int) -> None:
    shares = fill(wants, total)
    assert all(0 <= share <= want for share, want in zip(shares, wants, strict=True))
    assert sum(shares) == min(total, sum(wants))
    hungry = [share for share, want in zip(shares, wants, strict=True) if share < want]
    assert not hungry or max(shares) - min(hungry) <= 1


def test_a_second_key_gets_half_however_many_bulks_the_first_has() -> None:
    many = [standing(f"bulk_{number}", "first") for number in range(4)]
    assert plan([*many, standing("bulk_x", "second")], 800) == {
        "bulk_0": 100, "bulk_1": 100, "bulk_2": 100, "bulk_3": 100, "bulk_x": 400,
    }  # fmt: skip


def test_what_a_small_bulk_does_not_need_goes_to_the_others() -> None:
    assert plan([standing("small", left=10), standing("large")], 1000) == {"small": 10, "large": 990}


def test_nothing_is_added_above_the_low_water_mark() -> None:
    assert plan([standing("bulk", in_lanes=800)], 1000) == {}
    assert plan([standing("bulk", in_lanes=700)], 1000) == {"bulk": 300}


def test_a_bulk_that_holds_more_than_its_share_waits_until_others_have_caught_up() -> None:
    assert plan([standing("early", "a", in_lanes=1000), standing("late", "b")], 1000) == {"late": 500}


def test_the_window_follows_the_pace_between_its_bounds() -> None:
    assert window(4000, 0.0) == 500
    assert window(4000, 100.0) == 2000
    assert window(4000, 1000.0) == 4000
    assert window(100, 1000.0) == 100


def test_a_rate_is_measured_every_two_seconds_and_follows_the_pace() -> None:
    rates = Rates()
    assert rates.of("bulk", 0, 100.0) is None
    assert rates.of("bulk", 50, 101.0) is None
    assert rates.of("bulk", 100, 102.0) == 50.0
    assert rates.of("bulk", 100, 117.0) == pytest.approx(50 / 2.71828, rel=1e-3)
    assert rates.total(["bulk", "other"]) == pytest.approx(50 / 2.71828, rel=1e-3)


def test_a_retry_is_no_negative_pace() -> None:
    rates = Rates()
    rates.of("bulk", 100, 100.0)
    assert rates.of("bulk", 10, 110.0) == 0.0
