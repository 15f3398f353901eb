"""Problems in OpenAI's shape, on the paths that OpenAI's clients know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Response, json, request

from api.http.problems import CONTENT_TYPE

#: Where clients expect OpenAI's errors, whatever goes wrong: the key, a limit, a path that is not there.
PATHS: Final = ("/v1/audio", "/v1/models")
#: What OpenAI calls an error, by its status.
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
#: Fields of a job, and what OpenAI calls them.
_FIELDS: Final[Mapping[str, str | None]] = {"text": "input", "format": "response_format", "body": None}
#: Errors that are about one field without naming it.
_PARAMS: Final = {"model_not_found": "model", "instructions_unsupported": "instructions"}


def install(app: Flask) -> None:
    """Let the app answer with OpenAI's errors where they are expected."""
    app.after_request(_in_openais_shape)


def _in_openais_shape(response: Response) -> Response:
    if response.mimetype != CONTENT_TYPE or not _expected():
        return response
    problem = json.loads(response.get_data())
    # A field that is wrong is a bad request there.
    response.status_code = 400 if response.status_code == 422 else response.status_code
    response.set_data(json.dumps({"error": _error(problem, response.status_code)}))
    response.content_type = "application/json"
    return response


def _expected() -> bool:
    return any(request.path == path or request.path.startswith(f"{path}/") for path in PATHS)


def _error(problem: dict[str, Any], status: int) -> dict[str, Any]:
    code = problem["code"]
    fields = problem.get("errors") or []
    return {
        "message": _message(problem, fields),
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": _param(fields[0]["field"]) if fields else _PARAMS.get(code),
        "code": code,
    }


def _message(problem: dict[str, Any], fields: list[dict[str, str]]) -> str:
    if not fields:
        return str(problem["detail"])
    return "; ".join(f"{_param(one['field']) or 'body'}: {one['detail']}" for one in fields)


def _param(field: str) -> str | None:
    return _FIELDS.get(field, field)
