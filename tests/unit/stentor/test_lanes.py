"""Lanes: how a text finds its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stentor.jobs.lanes import Lane, class_chars, length_class


@pytest.mark.parametrize(
    ("text_chars", "length"),
    [(1, 0), (16, 0), (17, 1), (24, 1), (25, 2), (36, 2), (37, 3), (54, 3), (55, 4), (10_000, 16)],
)
def test_length_classes_are_geometric(text_chars: int, length: int) -> None:
    assert length_class(text_chars) == length


@given(st.integers(1, 1_000_000))
def test_a_class_holds_what_is_within_its_bounds(text_chars: int) -> None:
    length = length_class(text_chars)
    assert text_chars <= class_chars(length)
    assert length == 0 or text_chars > class_chars(length - 1)


def test_a_lane_is_found_again_by_its_key() -> None:
    lane = Lane.of(model="en_US-joe-medium", priority="bulk", text_chars=30)
    assert lane.key == "stentor:lane:en_US-joe-medium:bulk:2"
    assert Lane.from_key(lane.key) == lane
    assert [Lane(model="m", priority=name, length=0).rank for name in ("interactive", "standard", "bulk")] == [0, 1, 2]
