"""The parts of the description of speech and voices that the models do not contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api.openai.errors import PATHS
from api.openai.routes import OPENAI_MODELS
from api.openai.schemas import FORMAT_OF, OpenAiError
from stentor.formats import FORMATS
from stentor.voices.recording import CONTENT_TYPE

SPEECH, PREVIEW = "/v1/audio/speech", "/v1/voices/{voice}/preview"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def complete(spec: dict[str, Any], text: dict[str, Any]) -> None:
    """Add them to ``spec``; ``text`` is the schema of a job's text."""
    schemas, paths = spec["components"]["schemas"], spec["paths"]
    schema = OpenAiError.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**schema.pop("$defs", {}), "OpenAiError": schema}
    for path, item in paths.items():
        if path.startswith(PATHS):
            for operation in item.values():
                operation["responses"] = _convert_errors(operation["responses"])
    spoken = {"description": "The audio.", "content": dict.fromkeys(_content_types(), _BINARY)}
    failed = _error_response("The text could not be spoken.")
    paths[SPEECH]["post"]["responses"] |= {"200": spoken, "404": _error_response("No such model."), "500": failed}
    _describe_preview(paths[PREVIEW]["get"]["responses"])
    transcript = schemas["VoiceForm"]["properties"]["transcript"]
    # A form has no null: unknown values are left out.
    transcript |= transcript.pop("anyOf")[0]
    del transcript["default"]
    fields = schemas["SpeechRequest"]["properties"]
    fields["input"] |= {name: text[name] for name in ("minLength", "maxLength", "pattern")}
    fields["instructions"]["anyOf"][0]["maxLength"] = 0


def name_voices(spec: dict[str, Any], names: Sequence[str]) -> None:
    """Add the names of the voices, and of the models that a request may name with each of them."""
    schemas = spec["components"]["schemas"]
    fields = schemas["SpeechRequest"]["properties"]
    fields["voice"]["anyOf"][0]["enum"] = schemas["VoiceId"]["properties"]["id"]["enum"] = list(names)
    fields["model"]["enum"] = list(OPENAI_MODELS)


def _describe_preview(responses: dict[str, Any]) -> None:
    responses |= {
        "200": {"description": "The audio, with `inline=1`.", "content": {CONTENT_TYPE: _BINARY}},
        "302": {
            "description": "The URL of the audio in the storage.",
            "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
        },
        "409": {**responses["404"], "description": "Its state does not allow this."},
    }


def _content_types() -> list[str]:
    return [*dict.fromkeys(FORMATS[ours].content_type for ours in FORMAT_OF.values()), "audio/pcm"]


def _convert_errors(responses: dict[str, Any]) -> dict[str, Any]:
    """The responses with problems in OpenAI's format; a wrong field is `400`."""
    own = {status: answer for status, answer in responses.items() if status < "400"}
    errors = {
        status: _error_response(answer["description"])
        for status, answer in responses.items()
        if status >= "400" and status != "422"
    }
    return {**own, **errors, "400": _error_response("The body is not JSON, or a field is wrong.")}


def _error_response(description: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/OpenAiError"}}
    return {"description": description, "content": {"application/json": schema}}
