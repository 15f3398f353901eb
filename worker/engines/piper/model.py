"""A cut model on its device: the text half and the decoder, each a call with arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from worker.engines.piper.graphs.graph import Halves
from worker.engines.piper.latents import FloatArray, IntArray
from worker.engines.piper.sessions import OnnxSession


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoded:
    """What the text half says of some rows; padding is masked to zero."""

    #: float32, shape (rows, ids): durations before speed and rounding.
    weights: FloatArray
    #: float32, shape (rows, channels, ids) each.
    means: FloatArray
    log_deviations: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiledStage:
    """A stage of the decoder that runs a row in tiles; see tiles.py."""

    session: OnnxSession
    input: str
    output: str
    factor: int
    halo: int
    #: Input samples per tile.
    tile: int

    def run(self, samples: FloatArray) -> FloatArray:
        """The stage's output for one row: float32, (1, channels, n) -> (1, channels', n * factor)."""
        length = samples.shape[2]
        return np.concatenate([self._piece(samples, at, length) for at in range(0, length, self.tile)], axis=-1)

    def _piece(self, samples: FloatArray, begin: int, length: int) -> FloatArray:
        end = min(length, begin + self.tile)
        low, high = max(0, begin - self.halo), min(length, end + self.halo)
        piece = np.ascontiguousarray(samples[:, :, low:high])
        (output,) = self.session.run([self.output], {self.input: piece})
        return output[..., (begin - low) * self.factor : (end - low) * self.factor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CutModel:
    """Both halves of a model. Any number of threads may use it."""

    names: Halves
    text: OnnxSession
    #: The latent half up to the tensor ``boundary``, and the stages after it; without stages the boundary is the audio.
    head: OnnxSession
    boundary: str
    stages: tuple[TiledStage, ...] = ()

    def encode(self, ids: IntArray, lengths: IntArray, noise: FloatArray, speakers: IntArray | None) -> Encoded:
        """The text half: ids (rows, ids), lengths (rows,), noise (rows, 2, ids), speakers (rows,)."""
        feeds: dict[str, IntArray | FloatArray] = {"input": ids, "input_lengths": lengths, **_speakers(speakers)}
        if self.names.duration_noise is not None:
            feeds[self.names.duration_noise] = noise
        names = (self.names.weights, self.names.means, self.names.log_deviations)
        weights, means, log_deviations = self.text.run(names, feeds)
        mask = np.arange(ids.shape[1]) < lengths[:, None]  # (rows, ids)
        return Encoded(
            weights=np.where(mask, weights.reshape(ids.shape), np.float32(0)),
            means=np.where(mask[:, None], means, np.float32(0)),
            log_deviations=np.where(mask[:, None], log_deviations, np.float32(0)),
        )

    def decode(self, latents: FloatArray, mask: FloatArray, speakers: IntArray | None) -> FloatArray:
        """The latent half: latents (rows, channels, frames), mask (rows, 1, frames) -> audio (rows, samples)."""
        feeds: dict[str, IntArray | FloatArray] = {
            self.names.latents: latents,
            self.names.mask: mask,
            **_speakers(speakers),
        }
        (output,) = self.head.run([self.boundary], feeds)
        for stage in self.stages:
            output = stage.run(output)
        return output.reshape(latents.shape[0], -1)


def _speakers(speakers: IntArray | None) -> dict[str, IntArray | FloatArray]:
    return {} if speakers is None else {"sid": speakers}


def speakers_of(numbers: Sequence[int | None]) -> IntArray | None:
    """The speakers' numbers as the model's input: int64, shape (rows,); None if the model has only one speaker."""
    known = [number for number in numbers if number is not None]
    return np.array(known, dtype=np.int64) if known else None
