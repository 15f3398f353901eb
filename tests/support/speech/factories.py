"""Things to test with, where what does not matter is filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stentor.errors import EngineFailed, SynthesisError
from stentor.jobs.job import Job, new_id
from stentor.jobs.lanes import Lane
from stentor.speech import SpeechParams, field_names
from stentor.voices.voice import Voice
from worker.engines.contract import EngineInfo, Segment, Speech, Utterance

#: The model and the voice of ``ToneEngine``.
TONE = "tone"


def a_job(text: str = "Your parcel arrives on Tuesday.", **fields: Any) -> Job:
    """A queued job."""
    priority = fields.get("priority", "standard")
    model = fields.setdefault("model", TONE)
    lane = Lane.of(model=model, priority=priority, text_chars=len(text)).key
    speech = SpeechParams.pick({"voice": TONE, **{name: fields.pop(name) for name in field_names() if name in fields}})
    return Job(**{"id": new_id(), "owner": "acme", "text": text, "speech": speech, "lane": lane, **fields})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToneUtterance(Utterance):
    """A text as so many tenths of a second of a tone."""

    hz: float


class ToneEngine:
    """An engine without a model: a tone of 0.1 s per character, its pitch drawn from the seed.

    A text with ``poison`` fails alone, one with ``batchbreaker`` takes its whole batch down, one with ``nan`` is
    answered with something that is no audio, and ``on_batch`` is called in the middle of every forward pass.
    """

    def __init__(self, *, budget: int = 400, pads: bool = False) -> None:
        self.info = EngineInfo(
            name="tone",
            model=TONE,
            sample_rate_hz=16_000,
            languages=("en_US",),
            segment_chars=80,
            cost_per_s=10.0,
            budget=budget,
            pads=pads,
        )
        self.voices = (Voice(name=TONE, model=TONE, engine="tone", languages=("en_US",), sample_rate_hz=16_000),)
        self.batches: list[list[str]] = []
        self.loads = 0
        self.poisonous = True
        self.on_batch: Callable[[Sequence[str]], None] = lambda _: None

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        self.loads += 1

    def prepare(self, segment: Segment) -> ToneUtterance:
        return ToneUtterance(segment=segment, cost=len(segment.text), hz=200.0 + segment.speech.seed % 100)

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        texts = [row.segment.text for row in batch]
        self.batches.append(texts)
        self.on_batch(texts)
        if any("batchbreaker" in text for text in texts):
            raise RuntimeError("the whole batch is lost")
        return [self._speak(row) for row in batch]

    def _speak(self, row: Utterance) -> Speech | SynthesisError:
        assert isinstance(row, ToneUtterance)
        if self.poisonous and "poison" in row.segment.text:
            return EngineFailed("this text is poison")
        times_s = np.arange(len(row.segment.text) * 1600) / 16_000
        samples = (0.5 * np.sin(2 * np.pi * row.hz * times_s)).astype(np.float32)
        if "nan" in row.segment.text:
            samples[:] = np.nan
        return Speech(samples=samples)

    def unload(self) -> None:
        self.loads -= 1


class CloningEngine(ToneEngine):
    """A tone engine that says it can speak with the voice of a recording, and notes which voices it heard of."""

    def __init__(self) -> None:
        super().__init__()
        self.info = dataclasses.replace(self.info, cloning=True)
        self.voices_heard: list[Voice] = []

    def prepare(self, segment: Segment) -> ToneUtterance:
        self.voices_heard.append(segment.voice)
        return super().prepare(segment)
