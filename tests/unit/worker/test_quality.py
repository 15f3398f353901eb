"""What is speech and what is not, and the figures that tell how it sounds."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stentor.errors import AudioInvalid
from worker.finishing.quality import Quality, check, loudness_lufs, measure, spoken_chars, to_loudness

RATE_HZ = 22_050


def sine(hz: float = 997, *, level: float = 0.5, audio_s: float = 1.0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A tone: float32, shape (samples,), -level..level."""
    times_s = np.arange(round(audio_s * rate_hz)) / rate_hz
    return np.float32(level) * np.sin(2 * np.pi * hz * times_s).astype(np.float32)


def noise(*, level: float = 0.1, audio_s: float = 2.0, seed: int = 0) -> NDArray[np.float32]:
    """White noise of that root mean square: float32, shape (samples,)."""
    drawn = np.random.default_rng(seed).standard_normal(round(audio_s * RATE_HZ))
    return (level * drawn).astype(np.float32)


def checked(samples: NDArray[np.float32], text_chars: int = 20, *, speed: float = 1.0) -> None:
    check(samples, RATE_HZ, text_chars, speed=speed)


# --- check: samples


def test_a_soft_tone_is_speech() -> None:
    checked(sine(200, level=0.0011))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_named_with_its_place(bad: float) -> None:
    samples = sine(200)
    samples[[7, 9]] = bad
    with pytest.raises(
        AudioInvalid, match=rf"^2 of 22050 samples are not finite .* \({bad}\) at index 7\. All samples"
    ):
        checked(samples)


def test_no_samples_are_no_speech() -> None:
    with pytest.raises(AudioInvalid, match=r"has 0 samples\. The minimum is 1\."):
        checked(np.zeros(0, np.float32))


@pytest.mark.parametrize(("level", "peak"), [(0.0, "-inf"), (0.0009, "-60.9")])
def test_silence_is_no_speech(level: float, peak: str) -> None:
    with pytest.raises(AudioInvalid, match=rf"its peak is {peak} dBFS\. The minimum is -60\.0 dBFS\."):
        checked(np.full(1000, -level, np.float32))


@pytest.mark.parametrize("level", [1.0, 0.95, 0.01])
def test_a_square_wave_is_clipped_flat_wherever_its_edge_is(level: float) -> None:
    with pytest.raises(AudioInvalid, match=r"clipped flat: 100% of 22050 samples are within 0\.1% of its peak"):
        checked(np.float32(level) * np.sign(sine(200) + np.float32(1e-9)))


def test_a_level_that_does_not_move_is_no_speech() -> None:
    with pytest.raises(AudioInvalid, match=r"100% of 1000 samples .* its peak of -6\.0 dBFS\. The maximum is 20%\."):
        checked(np.full(1000, -0.5, np.float32))


def test_a_single_sample_is_no_speech() -> None:
    with pytest.raises(AudioInvalid, match="clipped flat: 100% of 1 samples"):
        checked(np.full(1, 0.5, np.float32), 1)


@pytest.mark.parametrize(("gain_db", "passes"), [(0, True), (10, True), (30, False)])
def test_some_clipping_is_ugly_and_much_is_flat(gain_db: float, passes: bool) -> None:
    # As loud as the joe voice's loudest notices, peaks 10 dB below full scale before the gain.
    clipped = np.clip(noise() * np.float32(10 ** (gain_db / 20)), -1, 1)
    if passes:
        checked(clipped)
    else:
        with pytest.raises(AudioInvalid, match="clipped flat"):
            checked(clipped)


# --- check: length


@pytest.mark.parametrize(
    ("text", "audio_s", "speed"),
    # Spoken by the joe voice, all but the last three.
    [
        ("a", 0.139, 4.0),
        ("I I I I I I I I", 0.659, 1.0),
        ("W", 0.662, 1.0),
        ("1000000", 0.848, 1.0),
        ("777777", 3.68, 1.0),
        ("999999999999", 7.233, 1.0),
        ("你好世界", 3.042, 1.0),
        ("ﷺ", 1.208, 1.0),
        ("😂😍🎉🥳✨", 5.049, 1.0),
        ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 6.049, 1.0),
        ("Take two shirts & get the third one for half the price.", 1.5, 4.0),
        ("Take two shirts & get the third one for half the price.", 10.7, 0.25),
        ("...................................................... ok", 0.4, 1.0),
        ("Hi!\n================================================================", 0.4, 1.0),
        ("Hi 😂😍🎉🥳✨🎁🎈🍰🎂🍾🥂🎶🎵🎤🎧🎷🎸🎹🎺🎻", 0.4, 1.0),
    ],
)
def test_texts_that_are_quick_or_slow_to_say_are_speech(text: str, audio_s: float, speed: float) -> None:
    checked(sine(audio_s=audio_s), spoken_chars(text), speed=speed)


def test_an_engine_that_does_not_come_to_an_end_is_found() -> None:
    with pytest.raises(
        AudioInvalid, match=r"lasts 60\.00 s\. Speech of 20 characters at speed 1 lasts 0\.00 to 35\.00 s"
    ):
        checked(sine(audio_s=60), 20)


def test_an_engine_that_ends_too_early_is_found() -> None:
    with pytest.raises(
        AudioInvalid, match=r"lasts 0\.50 s\. Speech of 200 characters at speed 1 lasts 1\.80 to 305\.00 s"
    ):
        checked(sine(audio_s=0.5), 200)


@settings(deadline=None)
@given(st.integers(0, 300), st.floats(0.06, 1.2), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
def test_speech_at_any_pace_that_was_measured_passes_at_every_speed(
    chars: int, s_per_char: float, speed: float
) -> None:
    audio_s = max(0.14, chars * s_per_char / speed)
    check(sine(7, audio_s=audio_s, rate_hz=100), 100, chars, speed=speed)


@settings(deadline=None)
@given(st.integers(0, 300), st.floats(0.06, 1.2), st.sampled_from([0.25, 4.0]))
def test_an_engine_that_does_not_follow_the_speed_is_no_reason_to_fail(
    chars: int, s_per_char: float, speed: float
) -> None:
    check(sine(7, audio_s=max(0.14, chars * s_per_char), rate_hz=100), 100, chars, speed=speed)


@pytest.mark.parametrize(
    ("text", "chars"),
    [
        ("Hello, world!", 10),
        ("$24.50", 5),
        ("  \n\t ", 0),
        ("...", 0),
        ("----------------", 0),
        ("====================", 10),
        ("soooooooooooo", 13),
        ("你好，世界。", 4),
        ("नमस्ते", 4),
        ("½ ℃ №", 3),
    ],
)
def test_letters_digits_and_symbols_are_what_a_voice_may_say(text: str, chars: int) -> None:
    assert spoken_chars(text) == chars


# --- measure


def test_a_sine_at_minus_20_dbfs_is_at_minus_23_lufs() -> None:
    # BS.1770-4: 997 Hz at full scale in one channel reads -3.01; 20 dB less is -23.01.
    measured = measure(sine(997, level=0.1, audio_s=5), RATE_HZ, 50)
    assert measured.peak_dbfs == pytest.approx(-20.0, abs=0.01)
    assert measured.loudness_lufs == pytest.approx(-23.01, abs=0.05)
    assert measured.silence_ratio == 0.0
    assert measured.s_per_char == 0.1


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_loudness_does_not_depend_on_the_sample_rate(rate_hz: int) -> None:
    assert loudness_lufs(sine(997, level=0.1, audio_s=2, rate_hz=rate_hz), rate_hz) == pytest.approx(-23.01, abs=0.25)


def test_low_tones_count_less_and_high_ones_more() -> None:
    low, high = (loudness_lufs(sine(hz, level=0.1, audio_s=2), RATE_HZ) or 0.0 for hz in (40, 4000))
    assert low == pytest.approx(-23.01 - 6.4, abs=1)  # 38 Hz is the corner of the high pass, Q 0.5
    assert high == pytest.approx(-23.01 + 3.3, abs=0.3)


def test_pauses_do_not_make_speech_softer() -> None:
    tone = sine(997, level=0.1, audio_s=5)
    with_pause = np.concatenate([tone, np.zeros(5 * RATE_HZ, np.float32)])
    assert loudness_lufs(with_pause, RATE_HZ) == pytest.approx(-23.01, abs=0.2)


@settings(deadline=None)
@given(st.floats(-30, 10))
def test_a_gain_changes_loudness_by_as_much(gain_db: float) -> None:
    before = loudness_lufs(noise(), RATE_HZ)
    after = loudness_lufs(noise() * np.float32(10 ** (gain_db / 20)), RATE_HZ)
    assert before is not None
    assert after == pytest.approx(before + gain_db, abs=0.01)


@pytest.mark.parametrize("samples", [sine(audio_s=0.39), np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32)])
def test_what_is_short_or_silent_has_no_loudness(samples: NDArray[np.float32]) -> None:
    measured = measure(samples, RATE_HZ, 3)
    assert measured.loudness_lufs is None
    assert "loudness_lufs" not in measured.as_fields()
    json.dumps(measured.as_fields(), allow_nan=False)


def test_the_silence_ratio_is_the_share_of_windows_that_are_pauses() -> None:
    parts = [sine(level=0.1), np.zeros(RATE_HZ, np.float32), sine(level=0.001), sine(level=0.1)]
    assert measure(np.concatenate(parts), RATE_HZ, 1).silence_ratio == pytest.approx(0.5, abs=0.01)


@settings(deadline=None)
@given(st.integers(0, 20_000), st.integers(8_000, 48_000), st.integers(0, 5))
def test_any_recording_has_figures(size: int, rate_hz: int, chars: int) -> None:
    measured = measure(noise()[:size], rate_hz, chars)
    assert -120 <= measured.peak_dbfs <= 0
    assert 0 <= measured.silence_ratio <= 1
    assert measured.s_per_char >= 0


def test_the_record_carries_rounded_figures() -> None:
    quality = Quality(peak_dbfs=-1.23456, loudness_lufs=-21.98765, silence_ratio=0.12345, s_per_char=0.0695341)
    assert quality.as_fields() == {
        "peak_dbfs": -1.23,
        "loudness_lufs": -21.99,
        "silence_ratio": 0.123,
        "s_per_char": 0.0695,
    }


# --- to_loudness


@settings(deadline=None)
@given(st.floats(0.001, 0.2), st.floats(-40, -16))
def test_the_target_is_met_where_the_peak_leaves_room(level: float, target_lufs: float) -> None:
    # A sine at -16 LUFS peaks at -13 dBFS.
    made = to_loudness(sine(level=level), RATE_HZ, target_lufs)
    assert made.dtype == np.float32
    assert loudness_lufs(made, RATE_HZ) == pytest.approx(target_lufs, abs=0.02)


def test_the_true_peak_stays_below_the_ceiling() -> None:
    # At a quarter of the rate, 45 degrees off: every sample lies 3 dB below the wave's peak.
    tricky = np.resize(np.array([0.1, 0.1, -0.1, -0.1], np.float32), RATE_HZ)
    fade = np.minimum(1, np.linspace(0, 20, RATE_HZ)).astype(np.float32)
    made = to_loudness(tricky * fade * fade[::-1], RATE_HZ, 0.0)
    peak_dbfs = 20 * np.log10(np.abs(made).max())
    true_peak_dbfs = 20 * np.log10(np.abs(soxr.resample(made, RATE_HZ, 8 * RATE_HZ, "VHQ")).max())
    assert peak_dbfs == pytest.approx(-4.0, abs=0.1)
    assert true_peak_dbfs == pytest.approx(-1.0, abs=0.1)


def test_a_recording_without_loudness_is_left_as_it_is() -> None:
    short = sine(audio_s=0.3)
    assert to_loudness(short, RATE_HZ, -16.0) is short


def test_the_samples_that_came_in_are_left_alone() -> None:
    samples = sine()
    before = samples.copy()
    to_loudness(samples, RATE_HZ, -30.0)
    assert np.array_equal(samples, before)


# --- starting


def test_a_worker_starts_without_scipy() -> None:
    code = "import sys, worker.finishing.quality; print(*{'scipy', 'pyloudnorm'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == ""
