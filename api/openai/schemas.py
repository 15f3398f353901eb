"""OpenAI's requests and answers, as far as speech has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stentor.formats import FORMATS
from stentor.speech import MAX_SPEED, MIN_SPEED, OneOf

#: OpenAI's formats, and which of ours each is. Its raw samples are taken out of a WAV file.
FORMAT_OF: Final[Mapping[str, str]] = {one.openai_name: name for name, one in FORMATS.items()} | {"pcm": "wav"}


class VoiceId(BaseModel):
    """A voice by its id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str


def _name_of(voice: object) -> object:
    """OpenAI takes a voice as its name, or as an object with its id."""
    return VoiceId.model_validate(voice).id if isinstance(voice, dict) else voice


class SpeechRequest(BaseModel):
    """OpenAI's `POST /v1/audio/speech`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(
        description="A model or an engine of this service, or one of OpenAI's (`tts-1`, ...): then the voice's own.",
        examples=["tts-1"],
    )
    input: str = Field(description="What to say.", examples=["Your parcel arrives on Tuesday."])
    voice: Annotated[str, BeforeValidator(_name_of, json_schema_input_type=str | VoiceId)] = Field(
        description="A name or id from `GET /v1/voices`, or one of OpenAI's that `STENTOR_OPENAI_VOICES` maps."
    )
    response_format: Annotated[str, OneOf(FORMAT_OF)] = Field(
        "mp3", description="`opus` is in Ogg; `pcm` is 16-bit little-endian mono at 24 kHz."
    )
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False, description="2 speaks in half the time.")
    instructions: str | None = Field(None, description="Not followed by any model here: refused unless it is empty.")
    stream_format: Literal["audio"] = Field("audio", description="The bytes of the audio; there are no events (`sse`).")


class ModelOut(BaseModel):
    """A model, as OpenAI describes one."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Not known here: always 0.")
    owned_by: str = "stentor"


class ModelsOut(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class ModelPath(BaseModel):
    """The model in a path."""

    model: str = Field(description="Its id.")


class OpenAiErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiError(BaseModel):
    """An error, as OpenAI describes one."""

    error: OpenAiErrorDetail
