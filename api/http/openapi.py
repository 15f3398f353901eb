"""The OpenAPI description, completed with what the models cannot say: problems of endpoints, and limits of settings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from api.bulks import openapi as bulk_openapi
from api.http.problems import CONTENT_TYPE
from api.http.schemas import ProblemOut
from api.jobs.schemas import JobRequest
from api.openai import openapi as speech_openapi
from stentor.formats import FORMATS
from stentor.settings import Settings

#: Why an endpoint answers with a status in addition to its own.
_PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "The API key is missing, unknown or expired.",
    "403": "The scopes of the API key do not allow this.",
    "404": "It does not exist, or belongs to another owner.",
    "409": "Its state does not allow this.",
    "413": "The body is too large.",
    "415": "The content type of the body is not supported.",
    "422": "A field is wrong; `errors` names each wrong field.",
    "429": "A limit of the key is reached; `Retry-After` says when to retry.",
    "503": "Redis or the storage does not answer; `Retry-After` says when to retry.",
}

#: What ``stentor.text.clean`` accepts, in the syntax of ECMA-262 with the flag ``u``, which JSON Schema requires: no
#: control characters except those that separate lines and words, and at least one letter or number. (Hangul's four
#: fillers are invisible letters: a text with nothing else is refused anyway.)
_ALLOWED = "[^\\u0000-\\u0008\\u000e-\\u001f\\u007f-\\u0084\\u0086-\\u009f]*"
SPEAKABLE = rf"^{_ALLOWED}(?:\p{{L}}|\p{{N}}){_ALLOWED}$"


#: A simple form of the webhook URLs that ``check_url`` accepts: public names only. Other forms are accepted, too; a
#: pattern for all of them would be too long to be useful.
PUBLIC_URL = (
    r"^https?://([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\.){1,4}[a-z]{2,20}(:[1-9][0-9]{0,3})?"
    r"(/[A-Za-z0-9._~%-]*)*(\?[A-Za-z0-9._~%&=-]*)?$"
)
#: Schemas and fields with such URLs.
_URLS = (
    ("WebhookRequest", "url"),
    ("WebhookChange", "url"),
    ("JobRequest", "webhook_url"),
    ("BulkForm", "webhook_url"),
    ("BulkSource", "webhook_url"),
)


def with_voices(described: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The description with these voices as the only values of `voice`."""
    spec = copy.deepcopy(described)
    names_only = {"type": "string", "enum": list(names)}
    for model in ("JobRequest", "BulkSource", "BulkForm"):
        voice = spec["components"]["schemas"][model]["properties"]["voice"]
        if "anyOf" in voice:
            voice["anyOf"] = [names_only if one["type"] == "string" else one for one in voice["anyOf"]]
        else:
            voice |= names_only
    speech_openapi.name_voices(spec, names)
    return spec


def describe(generated: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The description that flask-openapi3 generated, completed."""
    spec = copy.deepcopy(generated)
    schemas = spec["components"]["schemas"]
    # The generated schema lacks the limits on the names in `metadata`.
    schemas["JobRequest"] = JobRequest.model_json_schema()
    schemas.update(_schema_of_problem())
    bulk_openapi.complete(spec, settings, _problem("409"))
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            operation["responses"] = _responses(path, method, operation)
    for body in ("unload", "load"):
        spec["paths"][f"/v1/devices/{{host}}/{{device}}/{body}"]["post"]["requestBody"]["required"] = False
    _set_limits(schemas, settings)
    speech_openapi.complete(spec, schemas["JobRequest"]["properties"]["text"])
    return spec


def _schema_of_problem() -> dict[str, Any]:
    schema = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    parts: dict[str, Any] = schema.pop("$defs", {})
    return {**parts, "ProblemOut": schema}


def _responses(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    own = {status: answer for status, answer in operation.get("responses", {}).items() if status != "422"}
    statuses = {"422"}  # also without parameters: an unknown parameter is refused
    if path.startswith("/v1"):
        statuses |= {"401", "403", "429", "503"}
    if "{" in path:
        statuses |= {"404"}
    if method in {"delete", "post"} or path.endswith("/audio"):
        statuses |= {"409"}
    if "requestBody" in operation:
        statuses |= {"400", "413", "415"}
    if path.endswith("/audio"):
        own = _audio_responses()
    if "503" in own:
        statuses -= {"503"}
    return dict(sorted({**own, **{status: _problem(status) for status in statuses}}.items()))


def _problem(status: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
    return {"description": _PROBLEMS[status], "content": {CONTENT_TYPE: schema}}


def _audio_responses() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "200": {
            "description": "The audio, with `inline=1`.",
            "content": {form.content_type: binary for form in FORMATS.values()},
        },
        "302": {
            "description": "The URL of the audio in the storage.",
            "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
        },
    }


def _set_limits(schemas: dict[str, Any], settings: Settings) -> None:
    text = schemas["JobRequest"]["properties"]["text"]
    text |= {"minLength": 1, "maxLength": settings.max_text_chars, "pattern": SPEAKABLE}
    schemas["JobListRequest"]["properties"]["jobs"]["maxItems"] = settings.max_jobs_per_request
    if settings.webhook_allow is None:
        for model, name in _URLS:
            url = schemas[model]["properties"][name]
            next(one for one in url.get("anyOf", [url]) if one["type"] == "string")["pattern"] = PUBLIC_URL
