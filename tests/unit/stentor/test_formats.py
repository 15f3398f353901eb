"""What every room knows of the audio formats."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stentor.formats import FORMATS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ


def test_four_formats_are_known_by_their_names() -> None:
    assert {name: (each.content_type, each.extension) for name, each in FORMATS.items()} == {
        "wav": ("audio/wav", "wav"),
        "flac": ("audio/flac", "flac"),
        "mp3": ("audio/mpeg", "mp3"),
        "ogg": ("audio/ogg", "ogg"),
    }
    assert all(name == each.name for name, each in FORMATS.items())


@pytest.mark.parametrize(
    ("name", "wanted_hz", "expected_hz"),
    [
        ("wav", 22_050, 22_050),
        ("flac", 12_345, 12_345),
        ("mp3", 22_050, 22_050),
        ("mp3", 22_051, 24_000),
        ("mp3", 96_000, 48_000),
        ("ogg", 22_050, 24_000),
        ("ogg", 44_100, 48_000),
        ("ogg", 8_000, 8_000),
    ],
)
def test_the_nearest_rate_is_the_next_one_up(name: str, wanted_hz: int, expected_hz: int) -> None:
    assert FORMATS[name].nearest_rate_hz(wanted_hz) == expected_hz


@given(st.sampled_from(sorted(FORMATS)), st.integers(MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ))
def test_no_rate_that_a_job_may_ask_for_loses_anything(name: str, wanted_hz: int) -> None:
    rate_hz = FORMATS[name].nearest_rate_hz(wanted_hz)
    assert wanted_hz <= rate_hz <= MAX_SAMPLE_RATE_HZ
    assert FORMATS[name].nearest_rate_hz(rate_hz) == rate_hz


def test_nobody_changes_a_format_by_accident() -> None:
    with pytest.raises(TypeError):
        FORMATS["aac"] = FORMATS["wav"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        FORMATS["wav"].name = "aac"  # type: ignore[misc]
