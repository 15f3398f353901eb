"""What is cut off, and what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.speech.recordings import speech as buzz
from worker.recordings import speech

RATE_HZ = 24_000


def tone(seconds: float, level: float = 0.3) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def noise(seconds: float, level: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(3).normal(0, level, round(seconds * RATE_HZ)).astype(np.float32)


def test_silence_at_the_ends_goes_and_pauses_within_stay() -> None:
    samples = np.concatenate([noise(2, 0.0003), tone(1), noise(1.5, 0.0003), tone(1), noise(3, 0.0003)])
    assert len(speech.trim(samples)) / RATE_HZ == pytest.approx(3.7, abs=0.05)


def test_a_steady_sound_keeps_its_ends() -> None:
    assert len(speech.trim(tone(3))) == 3 * RATE_HZ


def test_soft_ends_of_speech_are_not_cut_off() -> None:
    samples = np.concatenate([noise(1, 0.0003), tone(0.5, 0.01), tone(2, 0.3), tone(0.5, 0.01), noise(1, 0.0003)])
    assert len(speech.trim(samples)) / RATE_HZ == pytest.approx(3.2, abs=0.05)


def test_a_click_far_from_the_speech_does_not_make_it_silence() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[100:140] = 1.0
    samples = np.concatenate([tone(2, 0.02), noise(0.5, 0.0001), click])
    assert len(speech.trim(samples)) / RATE_HZ > 2


def test_two_seconds_of_speech_are_found_in_ten_minutes_of_silence() -> None:
    samples = np.zeros(600 * RATE_HZ, np.float32)
    samples[300 * RATE_HZ : 302 * RATE_HZ] = buzz(2)[:, 0]
    assert len(speech.trim(samples)) / RATE_HZ == pytest.approx(2.1, abs=0.15)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(RATE_HZ, np.float32), noise(3, 0.0005)])
def test_silence_has_no_speech(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    assert len(speech.trim(samples)) == 0


@pytest.mark.parametrize(("level", "expected_db"), [(0.003, 37.0), (0.03, 17.0)])
def test_the_signal_to_noise_ratio_is_that_of_speech_over_its_pauses(level: float, expected_db: float) -> None:
    pauses = noise(4, level)
    samples = pauses.copy()
    samples[RATE_HZ : 3 * RATE_HZ] += tone(2)
    # 20 log10(0.3 / sqrt(2) / level) = 37.0 and 17.0 dB
    assert speech.snr_db(speech.levels_dbfs(samples)) == pytest.approx(expected_db, abs=1.0)


def test_digital_silence_is_no_noise_floor() -> None:
    samples = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), noise(1, 0.003), tone(2)])
    assert speech.snr_db(speech.levels_dbfs(samples)) == pytest.approx(37.0, abs=1.0)
