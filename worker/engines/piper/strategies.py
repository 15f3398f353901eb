"""How a batch runs. The strategies know no device: any of them can be tested on a CPU.

``SideBySide`` is for CPUs: rows stay alone, unpadded, one per core. ``Padded`` is for CUDA: rows share a pass.
``WholeGraph`` (whole.py) is for models that cannot be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import structlog

from stentor.errors import EngineFailed, OutOfMemory, SynthesisError
from worker.engines.piper.finish import Spoken
from worker.engines.piper.latents import FloatArray, IntArray, Row, duration_noise, durations, latents, on_edge
from worker.engines.piper.model import CutModel, Encoded, speakers_of

#: A row shorter than this part of its group's longest begins a new group: at most a third of a pass is then padding,
#: and a pass keeps more than one row. A guess until a GPU has been measured.
LEAST_SHARE = 0.67
#: Silent frames behind the longest row of a padded pass. A decoder's convolutions answer a little beyond a row's end,
#: and look back at it from there, so that a row with padding ends otherwise than one without: on joe, whose sentences
#: end quietly, by 1.7e-4 of full scale; on a voice that ends loudly by 0.1. With this many, every row has padding as
#: far as its last sample can see: 8 frames on joe (measured on random latents), 14 in the largest HiFi-GAN (reckoned
#: from its kernels).
MARGIN_FRAMES = 16

log = structlog.get_logger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

#: A row between the halves: itself, its latents (channels, frames), its durations (ids,).
Half = tuple[Row, FloatArray, IntArray]


class Strategy(Protocol):
    """A loaded model and a way to run a batch of rows through it."""

    #: Whether rows are padded to their longest neighbour.
    pads: bool
    #: Whether the model runs uncut: no word times, see whole.py.
    whole_graph: bool
    #: Samples of audio per latent frame.
    hop_samples: int

    def speak(self, rows: Sequence[Row]) -> list[Spoken | SynthesisError]:
        """One answer per row, in order."""

    def close(self) -> None:
        """End the threads."""


def run_row(run: Callable[[In], Out], row: In) -> Out | SynthesisError:
    """What ``run`` answers for one row, or its error as a ``SynthesisError``: a bad row is its own failure."""
    try:
        return run(row)
    except SynthesisError as exc:
        return exc
    except Exception as exc:  # the door where a row's error becomes its outcome
        log.warning("row_failed", error=str(exc), exc_info=True)
        error = EngineFailed(f"the model failed on a sentence: {type(exc).__name__}: {exc}")
        error.__cause__ = exc
        return error


def solo(model: CutModel, row: Row) -> Spoken:
    """One row by itself, without padding."""
    generator = row.generator()
    noise = duration_noise(row, generator)
    speakers = speakers_of([row.speaker_id])
    encoded = model.encode(row.ids[None], np.array([len(row.ids)]), noise[None], speakers)
    frames = durations(row, encoded.weights[0])
    z = latents(row, generator, encoded.means[0], encoded.log_deviations[0], frames)
    mask = np.ones((1, 1, z.shape[1]), dtype=np.float32)
    return Spoken(samples=model.decode(z[None], mask, speakers)[0], frames=frames)


class SideBySide:
    """Rows alone, dealt out to one thread per core, longest first. So batch = solo, bit for bit.

    One session serves all threads: its ``run`` is thread safe and each call stays on the thread that makes it.
    """

    pads = False
    whole_graph = False

    def __init__(self, model: CutModel, hop_samples: int, cores: int) -> None:
        self._model = model
        self.hop_samples = hop_samples
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="piper")

    def speak(self, rows: Sequence[Row]) -> list[Spoken | SynthesisError]:
        """One answer per row, in order."""
        order = sorted(range(len(rows)), key=lambda at: len(rows[at].ids) * rows[at].length_scale, reverse=True)
        running = {at: self._threads.submit(run_row, self._speak_one, rows[at]) for at in order}
        return [running[at].result() for at in range(len(rows))]

    def _speak_one(self, row: Row) -> Spoken:
        return solo(self._model, row)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


class Padded:
    """Rows padded in a batch: first all through the text half, then by their now known frames through the decoder."""

    pads = True
    whole_graph = False

    def __init__(self, model: CutModel, hop_samples: int, budget_frames: int) -> None:
        self._model = model
        self.hop_samples = hop_samples
        self._budget_frames = budget_frames

    def speak(self, rows: Sequence[Row]) -> list[Spoken | SynthesisError]:
        """One answer per row, in order. A pass that fails is run again row by row, so that only the culprit fails."""
        if not rows:
            return []
        halfway = self._in_company(self._encode, list(rows))
        ready = [half for half in halfway if not isinstance(half, SynthesisError)]
        spoken: dict[int, Spoken | SynthesisError] = {}
        for group in groups([z.shape[1] + MARGIN_FRAMES for _, z, _ in ready], self._budget_frames):
            answers = self._in_company(self._decode, [ready[at] for at in group])
            spoken.update(zip(group, answers, strict=True))
        in_order = (spoken[at] for at in range(len(ready)))
        return [half if isinstance(half, SynthesisError) else next(in_order) for half in halfway]

    def close(self) -> None:
        """Nothing is held but the sessions."""

    def _in_company(
        self, run: Callable[[list[In]], list[Out | SynthesisError]], rows: list[In]
    ) -> list[Out | SynthesisError]:
        if len(rows) > 1:
            try:
                return run(rows)
            except OutOfMemory:
                raise  # the worker makes smaller batches of it, and remembers
            except Exception as exc:  # noqa: BLE001 (one row of the pass is bad, or all together are too much)
                log.warning("pass_split", rows=len(rows), error=str(exc))
        answers = [run_row(run, [row]) for row in rows]
        return [answer if isinstance(answer, SynthesisError) else answer[0] for answer in answers]

    def _encode(self, rows: list[Row]) -> list[Half | SynthesisError]:
        generators = [row.generator() for row in rows]
        noises = [duration_noise(row, generator) for row, generator in zip(rows, generators, strict=True)]
        encoded = self._text(rows, noises)

        def expand(at: int) -> Half:
            row, count = rows[at], len(rows[at].ids)
            weights = encoded.weights[at, :count]
            if len(rows) > 1 and on_edge(row, weights):
                weights = self._text([row], [noises[at]]).weights[0]
            frames = durations(row, weights)
            means, deviations = encoded.means[at, :, :count], encoded.log_deviations[at, :, :count]
            return row, latents(row, generators[at], means, deviations, frames), frames

        return [run_row(expand, at) for at in range(len(rows))]

    def _text(self, rows: list[Row], noises: list[FloatArray]) -> Encoded:
        lengths = np.array([len(row.ids) for row in rows])
        ids = np.stack([_pad(row.ids, lengths.max()) for row in rows])
        noise = np.stack([_pad(noise, lengths.max()) for noise in noises])
        return self._model.encode(ids, lengths, noise, speakers_of([row.speaker_id for row in rows]))

    def _decode(self, group: list[Half]) -> list[Spoken | SynthesisError]:
        counts = [z.shape[1] for _, z, _ in group]
        width = max(counts) + MARGIN_FRAMES
        z = np.stack([_pad(z, width) for _, z, _ in group])
        mask = (np.arange(width) < np.array(counts)[:, None]).astype(np.float32)[:, None]  # (rows, 1, frames)
        audio = self._model.decode(z, mask, speakers_of([row.speaker_id for row, _, _ in group]))
        return [
            Spoken(samples=samples[: count * self.hop_samples].copy(), frames=frames)
            for samples, count, (_, _, frames) in zip(audio, counts, group, strict=True)
        ]


def groups(counts: Sequence[int], budget: int) -> list[list[int]]:
    """The rows (by position) of each decoder pass: longest first, of like length, padded cost within the budget."""
    found: list[list[int]] = []
    for at in sorted(range(len(counts)), key=lambda at: counts[at], reverse=True):
        longest = counts[found[-1][0]] if found else 0
        if found and counts[at] >= LEAST_SHARE * longest and longest * (len(found[-1]) + 1) <= budget:
            found[-1].append(at)
        else:
            found.append([at])
    return found


def _pad(array: np.ndarray, width: int) -> np.ndarray:
    """``array`` with zeros behind its last axis, up to ``width``."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])])
