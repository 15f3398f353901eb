"""An engine to hurt a device with: tones, and texts that crash it, hang it or fill its memory for real.

It is found as any engine that others add: this folder on ``PYTHONPATH`` is a package that is installed.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stentor.errors import SynthesisError
from stentor.settings import Settings
from stentor.voices.voice import Voice
from worker.engines.contract import EngineInfo, Segment, Speech, Utterance

POISON = "poison"
RATE_HZ = 16_000
#: The environment's name for a file; while it is there the model cannot be loaded.
BROKEN = "POISON_BROKEN"
#: So long does the model take to load, and a forward pass, whatever is in it.
LOAD_S, PASS_S = 0.3, 0.02
#: Memory that a ``hog`` takes at a time, and where it stops when nobody else stops it, for the sake of the machine.
STEP_BYTES, MOST_BYTES = 50 * 10**6, 4 * 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoisonUtterance(Utterance):
    """A text as so many hundredths of a second of a tone."""

    hz: float


class PoisonEngine:
    """A tone of 0.02 s per character, its pitch drawn from the seed; and what the words below do to their batch."""

    def __init__(self) -> None:
        self.info = EngineInfo(
            name=POISON,
            model=POISON,
            sample_rate_hz=RATE_HZ,
            languages=("en_US",),
            cost_per_s=100.0,
            budget=400,
        )
        self.voices = (Voice(name=POISON, model=POISON, engine=POISON, languages=("en_US",), sample_rate_hz=RATE_HZ),)

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        time.sleep(LOAD_S)
        if Path(os.environ.get(BROKEN, "")).is_file():
            raise OSError("bad weights")

    def unload(self) -> None: ...

    def prepare(self, segment: Segment) -> PoisonUtterance:
        return PoisonUtterance(segment=segment, cost=2 * len(segment.text), hz=200.0 + segment.speech.seed % 100)

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        time.sleep(PASS_S)
        for row in batch:
            if "segfault" in row.segment.text:
                ctypes.string_at(0)
            if "hang" in row.segment.text:
                hang()
            if "hog" in row.segment.text:
                hog()
        return [Speech(samples=samples_of(row)) for row in batch]


def hang() -> None:
    """Never come back, inside of C code that holds the GIL: PyDLL, unlike CDLL, does not let go of it."""
    libc = ctypes.PyDLL(None)
    while True:
        libc.sleep(3600)


def hog() -> None:
    """Take memory without end, and use it."""
    taken: list[bytearray] = []
    while len(taken) * STEP_BYTES < MOST_BYTES:
        taken.append(bytearray(b"\x01") * STEP_BYTES)
        time.sleep(0.01)


def samples_of(row: Utterance) -> NDArray[np.float32]:
    """What is heard: float32, shape (samples,), -0.5..0.5."""
    assert isinstance(row, PoisonUtterance)
    times_s = np.arange(row.cost * RATE_HZ // 100) / RATE_HZ
    samples: NDArray[np.float32] = (0.5 * np.sin(2 * np.pi * row.hz * times_s)).astype(np.float32)
    if "nan" in row.segment.text:
        samples[:] = np.nan
    if "flaky" in row.segment.text and row.segment.speech.seed == 0:
        samples[:] = 0
    return samples


class PoisonFamily:
    """The one model that is always there."""

    def __init__(self, settings: Settings) -> None: ...

    def engines(self) -> dict[str, PoisonEngine]:
        return {POISON: PoisonEngine()}
