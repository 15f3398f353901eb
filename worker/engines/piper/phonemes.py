"""Text to phoneme ids, with piper's own phonemiser (espeak).

piper-tts is licensed under the GPL. It is used here through its public classes and nowhere else in Stentor.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from piper import PiperConfig, PiperVoice

from stentor.errors import EngineFailed, TextUnspeakable
from worker.engines.contract import Segment, Utterance
from worker.engines.piper.config import VoiceConfig, config_path
from worker.engines.piper.money import spell_prices

#: Latent frames per phoneme id and per sentence, at length scale 1: least squares over 48 sentences of the joe voice,
#: 13 to 187 ids each (2.07 and 17.5). The sentence's own part is mostly the silence at its end.
FRAMES_PER_ID = 2.07
FRAMES_PER_SENTENCE = 17.5
#: What piper reads as the beginning of raw phonemes, ``[[...]]``, wherever one bracket follows another.
RAW = re.compile(r"\[(?=\[)")
#: espeak keeps its voice and its buffers in process-wide variables: one text at a time, whatever the model.
_ESPEAK = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiperUtterance(Utterance):
    """A segment's sentences as the model's input.

    A sentence is a row of its own, as in piper: the voices were trained on single sentences between a start and an
    end mark, and short rows share the cores more evenly.
    """

    #: int64, shape (ids,) each, values 0..num_symbols-1.
    sentences: tuple[NDArray[np.int64], ...]
    #: None if the model has one speaker.
    speaker_id: int | None


class Phonemiser:
    """Makes utterances of one model's segments. Thread safe."""

    def __init__(self, model: str, path: Path, config: VoiceConfig) -> None:
        self._model = model
        self._config = config
        self._spoken = config.spoken_ids
        try:
            piper_config = PiperConfig.from_dict(json.loads(config_path(path).read_bytes()))
        except (OSError, ValueError) as exc:
            raise EngineFailed(f"piper cannot use the .onnx.json of the voice {model}: {exc}") from exc
        #: Only its phonemes are used, never its session; so it gets none.
        self._piper = PiperVoice(session=cast("Any", None), config=piper_config)

    def prepare(self, segment: Segment) -> PiperUtterance:
        """See ``PiperEngine.prepare``."""
        speaker_id = self._speaker_id(segment)
        sentences = self._sentences(segment.text)
        frames = sum(FRAMES_PER_ID * len(ids) + FRAMES_PER_SENTENCE for ids in sentences)
        cost = round(frames * self._config.inference.length_scale / segment.speech.speed)
        return PiperUtterance(segment=segment, cost=max(1, cost), sentences=sentences, speaker_id=speaker_id)

    def _sentences(self, text: str) -> tuple[NDArray[np.int64], ...]:
        plain = RAW.sub("[ ", text)  # a client's text is only ever text
        rows = self._rows(spell_prices(plain) if self._config.espeak.voice.startswith("en") else plain)
        sentences = [np.array(ids, dtype=np.int64) for ids in rows if not self._spoken.isdisjoint(ids)]
        if not sentences:
            raise TextUnspeakable(f"the voice {self._model} finds nothing to say in a text of {len(text)} characters")
        return tuple(sentences)

    def _rows(self, text: str) -> list[list[int]]:
        try:
            with _ESPEAK:
                return [self._piper.phonemes_to_ids(sentence) for sentence in self._piper.phonemize(text) if sentence]
        except Exception as exc:  # the phonemisers of piper's languages raise whatever they like
            raise EngineFailed(f"piper's phonemiser failed on {len(text)} characters: {exc!r}") from exc

    def _speaker_id(self, segment: Segment) -> int | None:
        voice = segment.voice
        if voice.model != self._model:
            raise EngineFailed(f"the voice {voice.name} belongs to the model {voice.model}, not to {self._model}")
        if voice.speaker is None:
            return self._config.speaker_id
        try:
            return self._config.speaker_id_map[voice.speaker]
        except KeyError:
            raise EngineFailed(f"the model {self._model} has no speaker {voice.speaker!r}") from None
