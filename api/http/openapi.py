"""The OpenAPI description, completed with what the models cannot say: problems per endpoint and the set limits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from api.bulks import openapi as bulk_openapi
from api.http.problems import CONTENT_TYPE
from api.jobs.schemas import JobRequest, ProblemOut
from api.openai import openapi as speech_openapi
from stentor.formats import FORMATS
from stentor.settings import Settings

#: Statuses that endpoints may answer with, beyond their own, and why.
_PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "No API key, or not one that was given out.",
    "403": "The API key may not do this.",
    "404": "There is no such thing, or it is not yours.",
    "409": "It is not in a state in which this can be done.",
    "413": "The body is too large.",
    "415": "The body is of another content type.",
    "422": "A field is wrong; `errors` names each.",
    "429": "A limit of the key is reached; `Retry-After` says when it is not.",
    "503": "Redis or the storage does not answer; `Retry-After` says when to try again.",
}

#: What ``stentor.text.clean`` accepts, as ECMA-262 writes it with its flag ``u``, which JSON Schema asks for: no
#: control characters but those that part lines and words, and at least one letter or number. (Hangul's four fillers are
#: letters by name and nothing to the eye: a text of nothing else is refused all the same.)
_ALLOWED = "[^\\u0000-\\u0008\\u000e-\\u001f\\u007f-\\u0084\\u0086-\\u009f]*"
SPEAKABLE = rf"^{_ALLOWED}(?:\p{{L}}|\p{{N}}){_ALLOWED}$"


#: URLs of webhooks that are accepted wherever they lead to: a name in public, and none of what ``check_url`` refuses.
#: Names and paths of other forms may be, too; a pattern that says all of it would be no help to anybody.
PUBLIC_URL = (
    r"^https?://([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\.){1,4}[a-z]{2,20}(:[1-9][0-9]{0,3})?"
    r"(/[A-Za-z0-9._~%-]*)*(\?[A-Za-z0-9._~%&=-]*)?$"
)
#: Where such URLs are.
_URLS = (
    ("WebhookRequest", "url"),
    ("WebhookChange", "url"),
    ("JobRequest", "webhook_url"),
    ("BulkForm", "webhook_url"),
    ("BulkSource", "webhook_url"),
)


def with_voices(described: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The description of a service that has these voices: a job may name one of them and no other."""
    spec = copy.deepcopy(described)
    named = {"type": "string", "enum": list(names)}
    for model in ("JobRequest", "BulkSource", "BulkForm"):
        voice = spec["components"]["schemas"][model]["properties"]["voice"]
        if "anyOf" in voice:
            voice["anyOf"] = [named if one["type"] == "string" else one for one in voice["anyOf"]]
        else:
            voice |= named
    speech_openapi.name_voices(spec, names)
    return spec


def describe(generated: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The description that flask-openapi3 generated, made whole."""
    spec = copy.deepcopy(generated)
    schemas = spec["components"]["schemas"]
    # Generated, it loses the limits on the names in `metadata`.
    schemas["JobRequest"] = JobRequest.model_json_schema()
    schemas.update(_schema_of_problem())
    bulk_openapi.complete(spec, settings, _problem("409"))
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            operation["responses"] = _responses(path, method, operation)
    for body in ("unload", "load"):
        spec["paths"][f"/v1/devices/{{host}}/{{device}}/{body}"]["post"]["requestBody"]["required"] = False
    _limit(schemas, settings)
    speech_openapi.complete(spec, schemas["JobRequest"]["properties"]["text"])
    return spec


def _schema_of_problem() -> dict[str, Any]:
    schema = ProblemOut.model_json_schema(ref_template="#/components/schemas/{model}")
    parts: dict[str, Any] = schema.pop("$defs", {})
    return {**parts, "ProblemOut": schema}


def _responses(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    own = {status: answer for status, answer in operation.get("responses", {}).items() if status != "422"}
    statuses = {"422"}  # also where nothing is asked: a parameter that nobody reads is refused
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
            "description": "Where the audio lies in the storage.",
            "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
        },
    }


def _limit(schemas: dict[str, Any], settings: Settings) -> None:
    text = schemas["JobRequest"]["properties"]["text"]
    text |= {"minLength": 1, "maxLength": settings.max_text_chars, "pattern": SPEAKABLE}
    schemas["JobListRequest"]["properties"]["jobs"]["maxItems"] = settings.max_jobs_per_request
    if settings.webhook_allow is None:
        for model, name in _URLS:
            url = schemas[model]["properties"][name]
            next(one for one in url.get("anyOf", [url]) if one["type"] == "string")["pattern"] = PUBLIC_URL
