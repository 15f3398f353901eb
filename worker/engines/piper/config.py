"""What a Piper voice's ``.onnx.json`` says, as far as this engine reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field

Scale = Annotated[float, Field(ge=0, le=10)]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class Audio(_Part):
    """The output's form."""

    sample_rate: int = Field(ge=1000, le=192_000)


class Espeak(_Part):
    """The phonemiser's voice."""

    voice: str = Field(min_length=1)


class Inference(_Part):
    """How the voice was meant to be spoken; the defaults are those of piper-tts 1.8 (piper/config.py)."""

    noise_scale: Scale = 0.667
    length_scale: float = Field(1.0, gt=0, le=10)
    noise_w: Scale = 0.8


class Language(_Part):
    """The language's code, such as ``en_US``."""

    code: str = Field(min_length=1)


class VoiceConfig(_Part):
    """A voice's configuration."""

    audio: Audio
    espeak: Espeak
    inference: Inference = Inference()
    language: Language | None = None
    num_symbols: int = Field(ge=1)
    num_speakers: int = Field(ge=1)
    phoneme_id_map: dict[str, list[int]] = Field(min_length=1)
    speaker_id_map: dict[str, int] = Field(default_factory=dict)
    default_speaker_id: int = Field(0, ge=0)
    #: Samples of audio per latent frame.
    hop_length: int = Field(256, ge=1)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the voice speaks: its code, or else espeak's name for it."""
        return (self.language.code if self.language else self.espeak.voice,)

    @property
    def frames_per_s(self) -> float:
        """Latent frames per second of audio."""
        return self.audio.sample_rate / self.hop_length

    @property
    def speaker_id(self) -> int | None:
        """The number of the speaker that speaks when none is named; None if the model has only one."""
        return self.default_speaker_id if self.num_speakers > 1 else None

    @property
    def spoken_ids(self) -> frozenset[int]:
        """The phoneme ids that make a sound: letters and digits, not pauses and not punctuation."""
        return frozenset(number for letter in self.letters for number in self.phoneme_id_map[letter])

    @property
    def letters(self) -> tuple[str, ...]:
        """The phonemes that make a sound."""
        return tuple(phoneme for phoneme in self.phoneme_id_map if any(char.isalnum() for char in phoneme))

    @classmethod
    def read(cls, path: Path) -> VoiceConfig:
        """The configuration in the file ``path``.

        Raises:
            OSError: the file cannot be read.
            pydantic.ValidationError: it is not the JSON of a Piper voice (a ``ValueError``).
        """
        return cls.model_validate_json(path.read_bytes())


def config_path(model: Path) -> Path:
    """Where the configuration of a model file is: next to it, with ``.json`` after the whole name."""
    return model.with_name(model.name + ".json")
