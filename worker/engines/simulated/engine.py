"""The simulated engine: takes the time and the memory that a GPU would, and no more of the CPU than a tone costs."""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stentor.errors import EngineFailed, OutOfMemory, SynthesisError
from stentor.voices.voice import Voice
from worker.engines.contract import EngineInfo, Segment, Speech, Utterance
from worker.engines.simulated.gpus import Gpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
#: NVIDIA's input of 128 characters lasts 8.05 s (see gpus.py).
CHARS_PER_S = 128 / 8.05
LANGUAGES = ("en_US",)
#: Longest audio that one segment can have: 300 characters at a quarter of the pace last 75 s.
LONGEST_S = 80
#: Where the audio of a row begins in the common tone, so that no two texts sound alike.
OFFSETS = 8000


class SimulatedEngine:
    """One simulated GPU with a model on it. ``scale`` makes its clock run that many times faster."""

    def __init__(self, gpu: Gpu, *, scale: float = 1.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._gpu = gpu
        self._scale = scale
        self._sleep = sleep
        self._limit_bytes: int | None = None
        self.model = f"simulated-{gpu.name}"

    @property
    def info(self) -> EngineInfo:
        """What it can do. Costs are counted in frames of audio."""
        gpu = self._gpu
        return EngineInfo(
            name="simulated",
            model=self.model,
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=LANGUAGES,
            segment_chars=gpu.segment_chars,
            cost_per_s=gpu.units_per_s,
            budget=gpu.budget,
            pads=True,
        )

    @property
    def voices(self) -> tuple[Voice, ...]:
        """One voice, of the model's name."""
        return (
            Voice(
                name=self.model,
                model=self.model,
                engine="simulated",
                languages=LANGUAGES,
                sample_rate_hz=SAMPLE_RATE_HZ,
                description="no speech: a tone, at the pace of a GPU",
            ),
        )

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        """Be ready on any device; its memory is the GPU's, or the limit if that is less.

        Raises:
            EngineFailed: not even the model fits.
        """
        gpu = self._gpu
        limit_bytes = min(gpu.memory_bytes, memory_limit_bytes or gpu.memory_bytes)
        if limit_bytes < gpu.fixed_bytes:
            raise EngineFailed(
                f"{self.model} takes {gpu.fixed_bytes} bytes on {device} before it speaks; the limit is {limit_bytes}"
            )
        _tone()
        self._limit_bytes = limit_bytes

    def prepare(self, segment: Segment) -> Utterance:
        """The segment with its length in frames, which is exact."""
        audio_s = len(segment.text) / CHARS_PER_S / segment.speech.speed
        return Utterance(segment=segment, cost=max(1, round(audio_s * self._gpu.units_per_s)))

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        """A tone for each row, after exactly the time that the GPU would have taken.

        Raises:
            EngineFailed: the engine is not loaded.
            OutOfMemory: the padded batch does not fit into memory.
        """
        began_s = time.monotonic()
        if self._limit_bytes is None:
            raise EngineFailed(f"{self.model} is not loaded; load it before a batch is spoken")
        if not batch:
            return []
        longest, rows = max(row.cost for row in batch), len(batch)
        needed = self._gpu.batch_bytes(longest, rows)
        if needed > self._limit_bytes:
            raise OutOfMemory(
                f"{rows} rows of {longest} frames take {needed} bytes on {self._gpu.name}; it has {self._limit_bytes}"
            )
        answers: list[Speech | SynthesisError] = [self._speech(row) for row in batch]
        # What the tones took counts towards the time.
        took_s = time.monotonic() - began_s
        self._sleep(max(0.0, self._gpu.batch_s(longest, rows) / self._scale - took_s))
        return answers

    def _speech(self, row: Utterance) -> Speech:
        count = round(row.cost / self._gpu.units_per_s * SAMPLE_RATE_HZ)
        start = zlib.crc32(f"{row.segment.speech.seed}:{row.segment.text}".encode()) % OFFSETS
        return Speech(samples=_tone()[start : start + count].copy())

    def unload(self) -> None:
        """Be no longer ready."""
        self._limit_bytes = None


@functools.cache
def _tone() -> NDArray[np.float32]:
    """A tone that swells as syllables do, over a little noise: float32, shape (samples,), -0.5..0.5, 8000 Hz mono."""
    import numpy as np  # noqa: PLC0415 - finding engines imports nothing heavy

    times_s = np.arange(LONGEST_S * SAMPLE_RATE_HZ + OFFSETS) / SAMPLE_RATE_HZ
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * times_s)
    # Not a divisor of the sample rate: the tone does not repeat within a second.
    tone = 0.4 * swell * np.sin(2 * np.pi * 220.7 * times_s)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(times_s))
    made: NDArray[np.float32] = np.clip(tone + noise, -0.5, 0.5).astype(np.float32)
    return made
