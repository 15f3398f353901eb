"""What of a recording is speech, and how clean it is. Pure.

Samples are float32, shape (samples,), mono, 1.0 is full scale, at ``SAMPLE_RATE_HZ``. Levels are in dBFS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stentor.voices.recording import SAMPLE_RATE_HZ

#: Length of the frames whose levels are looked at: a glottal cycle or two, shorter than any pause.
FRAME_S = 0.02
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)
#: Speech is as loud as a second of the recording (of all its frames, wherever they are) is at least. Less than that no
#: voice needs, and a click or a slammed door does not last so long.
LOUD_FRAMES = round(1 / FRAME_S)
#: What is softer than this is no speech: the noise floor of a quiet room's recording.
SILENCE_DBFS = -60.0
#: Nothing is softer than this; JSON has no minus infinity.
FLOOR_DBFS = -120.0
#: Share of the frames that are taken for noise. Speech has a fifth of pauses (``worker.finishing.quality.PAUSE_DBFS``).
NOISE_SHARE = 0.1
#: At the ends, what is this much softer than speech, or hardly louder than noise, is cut off; but nothing that is less
#: than 15 dB below speech, so that a steady sound keeps its ends.
GATE_BELOW_SPEECH_DB, GATE_ABOVE_NOISE_DB, ALWAYS_SPEECH_DB = 45.0, 8.0, 15.0
#: What is left of the silence at both ends, so that soft first and last sounds are not cut off.
MARGIN_S = 0.1


def levels_dbfs(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """The level of each whole frame: shape (frames,)."""
    count = len(samples) // FRAME_SAMPLES
    # (samples,) -> (frames, samples of a frame)
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    power = np.einsum("fs,fs->f", frames, frames) / FRAME_SAMPLES
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DBFS / 10)))
    return levels


def speech_dbfs(levels: NDArray[np.float64]) -> float:
    """The level that a second of the recording reaches."""
    if len(levels) < LOUD_FRAMES:
        return float(levels.max(initial=FLOOR_DBFS))
    return float(np.partition(levels, -LOUD_FRAMES)[-LOUD_FRAMES])


def noise_dbfs(levels: NDArray[np.float64]) -> float:
    """The level of the softest tenth; digital silence, which no microphone hears, is left out if there is more."""
    heard = levels[levels > FLOOR_DBFS + 20]
    return float(np.quantile(heard if len(heard) else levels, NOISE_SHARE)) if len(levels) else FLOOR_DBFS


def snr_db(levels: NDArray[np.float64]) -> float:
    """By how much speech is louder than noise; about 0 for a sound without any pause."""
    return max(0.0, speech_dbfs(levels) - noise_dbfs(levels))


def trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples from where speech begins to where it ends, with ``MARGIN_S`` around; none if there is no speech."""
    levels = levels_dbfs(samples)
    loud = speech_dbfs(levels)
    if loud < SILENCE_DBFS:
        return samples[:0]
    gate = max(loud - GATE_BELOW_SPEECH_DB, min(noise_dbfs(levels) + GATE_ABOVE_NOISE_DB, loud - ALWAYS_SPEECH_DB))
    spoken = np.flatnonzero(levels >= gate)
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    first = max(0, int(spoken[0]) * FRAME_SAMPLES - margin)
    # A last piece that is shorter than a frame has no level of its own: it belongs to the frame before.
    last = (int(spoken[-1]) + 1) * FRAME_SAMPLES
    end = len(samples) if len(samples) - last < FRAME_SAMPLES else min(len(samples), last + margin)
    return samples[first:end]
