"""The one place that turns errors into HTTP responses: RFC 9457 problems with our ``code``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic
from flask import Flask, Response, g, json, make_response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from stentor import errors, log

_log = log.get(__name__)

CONTENT_TYPE = "application/problem+json"
#: Maximum number of wrong fields in a problem; with more of them, ``error_count`` has their number.
MAX_FIELDS = 100

#: Pydantic's name for a text with a lone surrogate.
_PYDANTIC_CODES = {"string_unicode": errors.TextInvalid.code}


class Invalid(errors.FieldInvalid):
    """A request has wrong fields, each with its place, code and sentence."""

    code = errors.FieldInvalid.code

    def __init__(self, fields: Sequence[Mapping[str, str]]) -> None:
        first = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"{first['field']}: {first['detail']}{more}")
        self.fields = fields


def problem_body(status: int, code: str, detail: str, *, retryable: bool) -> dict[str, Any]:
    """What every problem says."""
    return {
        "type": "about:blank",
        "title": errors.title_of(code),
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
    }


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    fields: Sequence[Mapping[str, str]] | None = None,
    retry_after_s: float | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """An RFC 9457 problem with ``code``, ``retryable``, the wrong fields and the members in ``more``."""
    body = problem_body(status, code, detail, retryable=retryable)
    if fields:
        body["errors"] = list(fields[:MAX_FIELDS])
        if len(fields) > MAX_FIELDS:
            body["error_count"] = len(fields)
    body.update(more or {})
    response = make_response(json.dumps(body), status)
    response.content_type = CONTENT_TYPE
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="stentor"'
    return response


def install(app: Flask) -> None:
    """Answer every error of the app with a problem."""
    app.register_error_handler(errors.StentorError, _from_stentor_error)
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(Exception, _from_exception)


def from_pydantic(exc: pydantic.ValidationError) -> Response:
    """The response to a request that does not fit its model; it names every wrong field."""
    return _from_stentor_error(invalid(exc))


def invalid(exc: pydantic.ValidationError) -> Invalid:
    """The error of a request that does not fit its model."""
    return Invalid([_field(error) for error in exc.errors(include_url=False)])


def _field(error: Any) -> dict[str, str]:
    # "one" and "many" are tags of a union, not part of the request.
    place = [str(part) for part in error["loc"] if str(part) not in {"one", "many"}]
    seen = _excerpt(error["input"])
    given = "" if error["type"] in {"missing", "string_unicode"} else f", not {seen}"
    return {
        "field": ".".join(place) or "body",
        "code": _PYDANTIC_CODES.get(error["type"], errors.FieldInvalid.code),
        "detail": f"{error['msg']}{given}".encode("utf-8", "backslashreplace").decode(),
    }


def _excerpt(value: Any) -> str:
    """The start of a value. ``repr`` of a whole body takes seconds."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    seen = repr(value[:80]) if isinstance(value, str) else repr(value)
    return f"{seen[:60]}..." if len(seen) > 60 else seen


def _from_stentor_error(error: errors.StentorError) -> Response:
    if error.status == 500:
        _log.error("request_failed", path=request.path, exc_info=error)
    elif error.status == 503:
        _log.warning("request_refused", path=request.path, code=error.code, reason=error.detail)
    fields = error.fields if isinstance(error, Invalid) else None
    code = fields[0]["code"] if fields else error.code
    return problem(
        error.status,
        code,
        error.detail,
        retryable=error.retryable,
        fields=fields,
        retry_after_s=error.retry_after_s,
    )


def _from_http_exception(error: HTTPException) -> Response:
    if error.response is not None:
        # A finished response: flask-openapi3 raises the one that `from_pydantic` returned.
        return make_response(error.response)
    if isinstance(error, NotFound):
        return _from_stentor_error(
            errors.PathUnknown(f"There is no endpoint at {request.path}. The endpoints are listed at /docs.")
        )
    if isinstance(error, RequestEntityTooLarge):
        # An endpoint that takes files has its own error for a file that is too large (``api.http.uploads``).
        kind: type[errors.StentorError] = g.get("too_large", errors.BodyTooLarge)
        return _from_stentor_error(kind(_too_large()))
    status = error.code or 500
    response = problem(status, _code(error), error.description or error.name)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _too_large() -> str:
    seen = f"{request.content_length} bytes" if request.content_length else "too many bytes"
    if (request.content_length or 0) <= (request.max_content_length or 0):
        return (
            f"The form has too many parts, or fields that are too long. At most {request.max_form_parts} parts and "
            f"{request.max_form_memory_size} bytes in fields without a file are allowed."
        )
    return f"The body has {seen}. At most {request.max_content_length} bytes are allowed."


def _code(error: HTTPException) -> str:
    return error.name.lower().replace(" ", "_")


def _from_exception(error: Exception) -> Response:
    _log.error("request_failed", path=request.path, exc_info=error)
    return problem(500, errors.StentorError.code, "An internal error occurred. The log of the API has the traceback.")
