"""The contract between the worker and an engine: what goes in, what comes out, and what an engine promises.

Batch = solo: the audio of an utterance depends on its text, voice, parameters and seed, and not on who shared its
batch. An engine draws noise per row from the row's seed, masks padding and cuts rows to their true length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from stentor.speech import MAX_SEED, SpeechParams
from stentor.voices.voice import Voice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stentor.errors import SynthesisError
    from stentor.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a job's text short enough for the engine, and how to speak it."""

    text: str
    voice: Voice
    #: The job's, with a seed of the segment's own.
    speech: SpeechParams

    @classmethod
    def of(cls, text: str, voice: Voice, **params: Any) -> Segment:
        """A segment that is no job's, spoken as the defaults and ``params`` say."""
        return cls(text=text, voice=voice, speech=SpeechParams(voice=voice.name, **params))

    def with_seed(self, seed: int) -> Segment:
        """The segment with a seed of this number, which may exceed the range of seeds."""
        return dataclasses.replace(self, speech=dataclasses.replace(self.speech, seed=seed % (MAX_SEED + 1)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """A segment that is ready for a forward pass. Engines subclass it to carry their own input."""

    segment: Segment
    #: Estimated cost in the engine's own unit (frames or tokens), without padding. Batches are packed by it.
    cost: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordTime:
    """When a word is spoken, in seconds from the start of the segment's audio."""

    word: str
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speech:
    """The audio of one utterance."""

    #: float32, shape (samples,), -1..1, mono, at the engine's ``sample_rate_hz``.
    samples: NDArray[np.float32]
    #: Word times, where the engine knows them.
    words: tuple[WordTime, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What an engine with this model can do, known without loading it."""

    name: str
    model: str
    sample_rate_hz: int
    languages: tuple[str, ...]
    cloning: bool = False
    emotion: bool = False
    speed: bool = True
    #: A segment should have no more characters than this.
    segment_chars: int = 300
    #: Estimated cost of one second of audio, in the unit of ``Utterance.cost``.
    cost_per_s: float = 1.0
    #: The largest padded cost of one batch to start from, by kind of device ("cpu", "cuda").
    budget: int = 1
    #: About how much device memory the loaded model and a batch of its budget take; by it a cap makes room.
    memory_bytes: int = 0
    #: Whether the rows of a batch are padded to the longest (False: rows run side by side, padding costs nothing).
    pads: bool = True


class Engine(Protocol):
    """One model, its loading and its speaking. Not thread safe: one thread calls it, except for ``prepare``."""

    @property
    def info(self) -> EngineInfo:
        """What this engine can do on its device."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices that this model speaks."""

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        """Put the model on ``device`` (``cpu``, ``cuda:0``) and speak one warm-up batch.

        Raises:
            EngineFailed: the model cannot be loaded there; the cause is kept.
        """

    def prepare(self, segment: Segment) -> Utterance:
        """The segment as the model's input. CPU only; may be called from another thread than ``synthesize``.

        Raises:
            SynthesisError: this segment cannot be spoken (nothing left to say, unknown speaker).
        """

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        """One forward pass: as many answers as utterances, in the same order; one row's error is that row's answer."""

    def unload(self) -> None:
        """Let go of the model. The process that held it ends soon after, which frees the rest."""


class EngineFamily(Protocol):
    """What an entry point of the group ``stentor.engines`` names: all models that one kind of engine finds here.

    The entry point is called with the settings. Finding must be cheap: no model library is imported by it.
    """

    def __init__(self, settings: Settings) -> None: ...

    def engines(self) -> dict[str, Engine]:
        """Unloaded engines by model name."""
