"""OpenAI's requests and responses for speech."""

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


def _voice_name(voice: object) -> object:
    """The name or id of a voice; OpenAI accepts a string, or an object with an id."""
    return VoiceId.model_validate(voice).id if isinstance(voice, dict) else voice


class SpeechRequest(BaseModel):
    """OpenAI's `POST /v1/audio/speech`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(
        description="A model or an engine of this service, or a model of OpenAI (`tts-1`, ...) for the voice's model.",
        examples=["tts-1"],
    )
    input: str = Field(description="The text to speak.", examples=["Your parcel arrives on Tuesday."])
    voice: Annotated[str, BeforeValidator(_voice_name, json_schema_input_type=str | VoiceId)] = Field(
        description="A name or id from `GET /v1/voices`, or a voice name of OpenAI that `STENTOR_OPENAI_VOICES` maps."
    )
    response_format: Annotated[str, OneOf(FORMAT_OF)] = Field(
        "mp3", description="`opus` is in Ogg; `pcm` is 16-bit little-endian mono at 24 kHz."
    )
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False, description="2 speaks twice as fast.")
    instructions: str | None = Field(None, description="Not supported by any model here: refused unless empty.")
    stream_format: Literal["audio"] = Field(
        "audio", description="The bytes of the audio. Events (`sse`) are not supported."
    )


class ModelOut(BaseModel):
    """A model in OpenAI's format."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="Unknown; always 0.")
    owned_by: str = "stentor"


class ModelsOut(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class ModelPath(BaseModel):
    """The model in a path."""

    model: str = Field(description="The id of the model.")


class OpenAiErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiError(BaseModel):
    """An error in OpenAI's format."""

    error: OpenAiErrorDetail
