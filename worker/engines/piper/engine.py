"""The Piper engine: one VITS model, its voices, and how a batch of segments becomes speech."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stentor.errors import EngineFailed, SynthesisError, TextUnspeakable
from stentor.voices.voice import Voice
from worker.engines.contract import EngineInfo, Segment, Speech, Utterance
from worker.engines.piper.config import VoiceConfig

if TYPE_CHECKING:
    from worker.engines.piper.phonemes import Phonemiser
    from worker.engines.piper.strategies import Strategy

#: Seconds of audio that one batch may cost at first. On CPU a batch is only how much is dealt out at once: 45 s keep
#: two cores busy for 1.5 s (tests/bench/engine.py), short enough for the window, long enough for an even deal.
CPU_BUDGET_S = 45.0
#: On CUDA 240 s: the decoder's widest layers hold about 20 MB per second of audio (32 channels x 22050 x 4 bytes, some
#: seven at a time), so 240 s take 5 GB. Not measured on a GPU.
CUDA_BUDGET_S = 240.0
#: Bytes of device memory per second of audio, and for weights and workspaces, with which a cap shrinks the budget.
CUDA_BYTES_PER_S = 20 * 2**20
CUDA_FIXED_BYTES = 2**30
#: On a CPU a loaded joe (63 MB) and its batches take 390 MB in addition to Python and the libraries.
CPU_BYTES_PER_BYTE = 6
#: So much of each end of a model file goes into its revision.
END_BYTES = 2**20
#: What is spoken once at load, so that a model that cannot speak is never called ready.
WARM_UP = "One, two, three."


class PiperEngine:
    """One Piper model. Importing and creating it touches no model library; ``load`` and ``prepare`` do."""

    def __init__(self, *, model: str, path: Path, config: VoiceConfig) -> None:
        self._model = model
        self._path = path
        self._config = config
        self._budget_s = CPU_BUDGET_S
        self._memory_bytes = CPU_BYTES_PER_BYTE * path.stat().st_size
        self._strategy: Strategy | None = None
        self._phonemiser: Phonemiser | None = None
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """What this model can do on its device (before ``load``: on a CPU). Costs are counted in latent frames."""
        return EngineInfo(
            name="piper",
            model=self._model,
            sample_rate_hz=self._config.audio.sample_rate,
            languages=self._config.languages,
            cost_per_s=self._config.frames_per_s,
            budget=int(self._budget_s * self._config.frames_per_s),
            memory_bytes=self._memory_bytes,
            pads=self._strategy is not None and self._strategy.pads,
        )

    @property
    def voices(self) -> tuple[Voice, ...]:
        """``<model>``, and ``<model>:<speaker>`` for every speaker of a model that has several."""
        speakers = self._config.speaker_id_map if self._config.num_speakers > 1 else {}
        return (self._voice(self._model, None), *(self._voice(f"{self._model}:{name}", name) for name in speakers))

    def _voice(self, name: str, speaker: str | None) -> Voice:
        return Voice(
            name=name,
            model=self._model,
            engine="piper",
            languages=self._config.languages,
            sample_rate_hz=self._config.audio.sample_rate,
            speaker=speaker,
            revision=self._revision,
        )

    @functools.cached_property
    def _revision(self) -> str:
        """Of the weights: their size, and a digest of both ends of the file, which takes no time to read."""
        with self._path.open("rb") as file:
            digest = hashlib.sha256(file.read(END_BYTES))
            file.seek(-min(END_BYTES, self._path.stat().st_size), os.SEEK_END)
            digest.update(file.read())
        return f"{self._path.stat().st_size:x}-{digest.hexdigest()[:16]}"

    @property
    def whole_graph(self) -> bool:
        """Whether the model came from another exporter and runs uncut, row by row and without word times."""
        return self._strategy is not None and self._strategy.whole_graph

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        """Put the model on ``device`` and speak a warm-up text. On a CPU the worker's own cap limits the memory.

        Raises:
            EngineFailed: the model file or the device cannot be used; the cause is kept.
        """
        from worker.engines.piper.loading import load_strategy  # noqa: PLC0415 (imports the model libraries)

        self.unload()
        self._budget_s = budget_s(device, memory_limit_bytes)
        if device != "cpu":
            self._memory_bytes = memory_limit_bytes or round(CUDA_FIXED_BYTES + CUDA_BUDGET_S * CUDA_BYTES_PER_S)
        self._strategy = load_strategy(self._path, self._config, device, memory_limit_bytes, self.info.budget)
        try:
            self._warm_up()
        except SynthesisError as exc:
            self.unload()
            raise EngineFailed(f"the model {self._model} was loaded on {device} but cannot speak: {exc}") from exc

    def _warm_up(self) -> None:
        answer = self.synthesize([self._first_words()])[0]
        if isinstance(answer, SynthesisError):
            raise answer

    def _first_words(self) -> Utterance:
        try:
            return self.prepare(Segment.of(WARM_UP, self.voices[0]))
        except TextUnspeakable:  # a voice without Latin letters, whose phonemes are those of the text
            return self.prepare(Segment.of(" ".join(self._config.letters), self.voices[0]))

    def prepare(self, segment: Segment) -> Utterance:
        """The segment as phoneme ids, one row per sentence, with its cost in latent frames.

        Raises:
            TextUnspeakable: espeak finds nothing in the text that could be said.
            EngineFailed: the segment's voice is not one of this model's.
        """
        if self._phonemiser is None:
            from worker.engines.piper.phonemes import Phonemiser  # noqa: PLC0415 (imports piper)

            with self._lock:
                self._phonemiser = self._phonemiser or Phonemiser(self._model, self._path, self._config)
        return self._phonemiser.prepare(segment)

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        """One answer per utterance: its sentences spoken, joined, trimmed and levelled, or its first error.

        Raises:
            EngineFailed: the model is not loaded.
        """
        from worker.engines.piper.batch import speak  # noqa: PLC0415 (imports numpy)

        if self._strategy is None:
            raise EngineFailed(f"the model {self._model} is not loaded; load it before a batch is spoken")
        return speak(batch, self._strategy, self._config)

    def unload(self) -> None:
        """Let go of the sessions and their threads."""
        if self._strategy is not None:
            self._strategy.close()
        self._strategy = None


def budget_s(device: str, memory_limit_bytes: int | None) -> float:
    """Seconds of padded audio that a batch may cost at first, and that a decoder pass on CUDA may hold."""
    if not device.startswith("cuda"):
        return CPU_BUDGET_S
    if memory_limit_bytes is None:
        return CUDA_BUDGET_S
    return min(CUDA_BUDGET_S, max(10.0, (memory_limit_bytes - CUDA_FIXED_BYTES) / CUDA_BYTES_PER_S))
