"""One row between the two halves of the model: its noise, durations and latents, which depend on nothing but the row.

The formulas are VITS's (Kim et al. 2021, https://arxiv.org/abs/2106.06103, section 2 and ``infer`` of its code), with
speed and noise per row where the exported graph has one value for the whole batch.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from stentor.errors import AudioInvalid, EngineFailed

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

#: Longest audio of one sentence, in latent frames at 86 per second: ten minutes. A segment has some 300 characters,
#: 20 s at normal speed; what asks for more has lost its way and would take the device's memory with it.
MAX_FRAMES = 51_680
#: Relative distance from a whole number below which a duration is computed again without company. Over 140
#: sentences of joe, padding changed durations by at most 6.5e-5 of themselves; this is three times as much, and one row
#: in 28 is computed twice.
EDGE = 2e-4
#: The duration predictor's noise has two channels in every VITS (models.py, ``StochasticDurationPredictor``).
DURATION_CHANNELS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One sentence for the model."""

    #: int64, shape (ids,).
    ids: IntArray
    #: None if the model has one speaker.
    speaker_id: int | None
    #: The segment's seed, and the sentence's number in the segment.
    seed: tuple[int, int]
    #: Frames are multiplied by this: 0.5 speaks twice as fast.
    length_scale: float
    noise_scale: float
    noise_w_scale: float

    def generator(self) -> np.random.Generator:
        """The row's own source of noise: the same row draws the same numbers, whatever shares its batch."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed)))


def duration_noise(row: Row, generator: np.random.Generator) -> FloatArray:
    """Noise for the duration predictor, already scaled: float32, shape (2, ids). Drawn before any other noise."""
    noise = generator.standard_normal((DURATION_CHANNELS, len(row.ids)), dtype=np.float32)
    return noise * np.float32(row.noise_w_scale)


def durations(row: Row, weights: FloatArray) -> IntArray:
    """Latent frames per phoneme id: int64, shape (ids,), from the text half's ``weights`` of the same shape.

    Raises:
        AudioInvalid: the durations are not finite, or there are none.
        EngineFailed: the row would be longer than ``MAX_FRAMES``.
    """
    frames = np.ceil(weights * np.float32(row.length_scale))
    total = float(frames.sum())
    if not np.isfinite(total) or total < 1:
        raise AudioInvalid(f"the model gives {len(row.ids)} phoneme ids a duration of {total} frames; wanted 1 or more")
    if total > MAX_FRAMES:
        raise EngineFailed(f"the sentence would be {total:.0f} frames long; at most {MAX_FRAMES} are spoken")
    whole: IntArray = frames.astype(np.int64)
    return whole


def on_edge(row: Row, weights: FloatArray) -> bool:
    """Whether a duration lies so near a whole number that another batch's rounding errors could change its frames."""
    frames = weights * np.float32(row.length_scale)
    return bool(np.any(np.abs(frames - np.round(frames)) < EDGE * frames))


def latents(
    row: Row, generator: np.random.Generator, means: FloatArray, log_deviations: FloatArray, frames: IntArray
) -> FloatArray:
    """What the decoder speaks: float32, shape (channels, frames).

    ``means`` and ``log_deviations`` are float32, shape (channels, ids); each id's column is repeated for its frames.
    """
    z = np.repeat(means, frames, axis=1)
    if row.noise_scale > 0:
        noise = generator.standard_normal(z.shape, dtype=np.float32)
        noise *= np.repeat(np.exp(log_deviations) * np.float32(row.noise_scale), frames, axis=1)
        z += noise
    return z
