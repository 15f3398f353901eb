"""Problems in the format of OpenAI's API, on its paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Response, json, request

from api.http.problems import CONTENT_TYPE

#: Paths on which clients expect OpenAI's errors, whatever goes wrong: the key, a limit, an unknown path.
PATHS: Final = ("/v1/audio", "/v1/models")
#: OpenAI's error types by HTTP status.
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
#: Fields of a job -> OpenAI's names for them.
_FIELDS: Final[Mapping[str, str | None]] = {"text": "input", "format": "response_format", "body": None}
#: Errors about one field that do not name it.
_PARAMS: Final = {"model_not_found": "model", "instructions_unsupported": "instructions"}


def install(app: Flask) -> None:
    """Answer with OpenAI's errors on OpenAI's paths."""
    app.after_request(_convert_problem)


def _convert_problem(response: Response) -> Response:
    if response.mimetype != CONTENT_TYPE or not _is_openai_path():
        return response
    problem = json.loads(response.get_data())
    # OpenAI answers a wrong field with 400.
    response.status_code = 400 if response.status_code == 422 else response.status_code
    response.set_data(json.dumps({"error": _openai_error(problem, response.status_code)}))
    response.content_type = "application/json"
    return response


def _is_openai_path() -> bool:
    return any(request.path == path or request.path.startswith(f"{path}/") for path in PATHS)


def _openai_error(problem: dict[str, Any], status: int) -> dict[str, Any]:
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
