"""Errors as HTTP answers, in the one place that maps them: RFC 9457 problems with our code."""

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
#: Bytes of a too large body that are read and thrown away. Whoever sends more sees its connection end.
HEARD_OUT_BYTES = 64 * 2**20

#: What pydantic calls a text with a lone surrogate.
_PYDANTIC_CODES = {"string_unicode": errors.TextInvalid.code}


class Invalid(errors.FieldInvalid):
    """Fields of a request that are wrong, each with its place, code and sentence."""

    code = errors.FieldInvalid.code

    def __init__(self, fields: Sequence[Mapping[str, str]]) -> None:
        first = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"{first['field']}: {first['detail']}{more}")
        self.fields = fields


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
    """A problem as RFC 9457 has it: with our ``code`` and ``retryable``, wrong fields, and what ``more`` there is."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": errors.title_of(code),
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
    }
    if fields:
        body["errors"] = list(fields)
    body.update(more or {})
    response = make_response(json.dumps(body), status)
    response.content_type = CONTENT_TYPE
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="stentor"'
    return response


def install(app: Flask) -> None:
    """Let the app answer every error with a problem."""
    app.register_error_handler(errors.StentorError, _from_ours)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _from_anything)


def from_pydantic(exc: pydantic.ValidationError) -> Response:
    """The answer to a request that does not fit its model: every wrong field is named."""
    return _from_ours(invalid(exc))


def invalid(exc: pydantic.ValidationError) -> Invalid:
    """The error of a request that does not fit its model."""
    return Invalid([_field(error) for error in exc.errors(include_url=False)])


def _field(error: Any) -> dict[str, str]:
    # A union names the branch it took between angle brackets or by its tag; that is no part of the request.
    place = [str(part) for part in error["loc"] if str(part) not in {"one", "many"}]
    seen = repr(error["input"])
    seen = f"{seen[:60]}..." if len(seen) > 60 else seen
    said = "" if error["type"] in {"missing", "string_unicode"} else f", not {seen}"
    return {
        "field": ".".join(place) or "body",
        "code": _PYDANTIC_CODES.get(error["type"], errors.FieldInvalid.code),
        "detail": f"{error['msg']}{said}".encode("utf-8", "backslashreplace").decode(),
    }


def _from_ours(error: errors.StentorError) -> Response:
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


def _from_werkzeug(error: HTTPException) -> Response:
    if error.response is not None:
        # An answer that was made already, as flask-openapi3 raises what `from_pydantic` gave it.
        return make_response(error.response)
    if isinstance(error, NotFound):
        return _from_ours(errors.PathUnknown(f"there is no endpoint at {request.path}"))
    if isinstance(error, RequestEntityTooLarge):
        _hear_out()
        # An endpoint that takes files has a name of its own for one that is too large (``api.http.uploads``).
        kind: type[errors.StentorError] = g.get("too_large", errors.BodyTooLarge)
        return _from_ours(kind(_too_large()))
    status = error.code or 500
    response = problem(status, _code(error), error.description or error.name)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _hear_out() -> None:
    """Read on for a while: a client that is still sending when the connection ends would not see the answer."""
    stream = request.environ["wsgi.input"]
    left = min(request.content_length or 0, HEARD_OUT_BYTES)
    while left > 0 and (piece := stream.read(min(left, 2**16))):
        left -= len(piece)


def _too_large() -> str:
    seen = request.content_length
    wanted = f"at most {request.max_content_length} bytes are wanted"
    return f"the body has {seen} bytes; {wanted}" if seen else f"the body has more bytes than it may; {wanted}"


def _code(error: HTTPException) -> str:
    return error.name.lower().replace(" ", "_")


def _from_anything(error: Exception) -> Response:
    _log.error("request_failed", path=request.path, exc_info=error)
    return problem(500, errors.StentorError.code, "something went wrong here; the log of the api has the traceback")
