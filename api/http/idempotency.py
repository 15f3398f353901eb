"""`Idempotency-Key`: a POST that is repeated with the same key gets the first response again.

Storing the response is not enough: a process may die, or Redis may hang, between creating jobs and storing it.
So the ids of everything created under a key are derived from the first attempt, and a repeat finds it already created.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import IO, Any, TypeVar, cast

from flask import Flask, Response, g, make_response, request
from flask.typing import ResponseReturnValue
from ulid import ULID

from api.http.auth import owner
from api.http.idempotency_records import IdempotentRequest, StoredResponse
from api.http.problems import Invalid
from api.services import services
from stentor.errors import FieldInvalid

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: Statuses that another attempt may change.
_TRANSIENT = frozenset({401, 403, 429})
#: Bytes of an uploaded file held in memory at a time.
_PIECE_BYTES = 2**20

View = Callable[..., ResponseReturnValue]
AnyView = TypeVar("AnyView", bound=Callable[..., Any])


def install(app: Flask) -> None:
    """Make every POST under ``/v1`` observe the header. Call it after all endpoints are registered.

    The endpoints are wrapped because hooks would run before those of the blueprints, which check keys and sizes before
    a body is read.
    """
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and rule.rule.startswith("/v1"):
            app.view_functions[rule.endpoint] = _observe_key(cast("View", app.view_functions[rule.endpoint]))
    app.after_request(_remember)


def replays_by_repeating(view: AnyView) -> AnyView:
    """Mark an endpoint whose responses are not stored: it is called again and creates the same things."""
    view.__dict__["replays_by_repeating"] = True
    return view


def new_id(kind: str, number: int = 0) -> str:
    """A new id such as ``job_01k...``. In a request with an idempotency key it is the same at every attempt.

    ``number`` distinguishes the things of one kind that one request creates.
    """
    begun: IdempotentRequest | None = g.get("begun")
    if begun is None:
        return f"{kind}_{ULID()}".lower()
    digest = hashlib.sha256(f"{begun.base}/{kind}/{number}".encode()).digest()
    # The millisecond of the first attempt, and 80 bits that are as good as random.
    return f"{kind}_{ULID.from_bytes(begun.base.bytes[:6] + digest[:10])}".lower()


def _observe_key(view: View) -> View:
    repeats = getattr(view, "replays_by_repeating", False)

    @functools.wraps(view)
    def call_once(**arguments: Any) -> ResponseReturnValue:
        name = request.headers.get(HEADER)
        if name is None or request.method != "POST":
            return view(**arguments)
        g.begun = services().idempotency.begin(owner(), _hash_key(name), _request_digest())
        g.repeats = repeats
        if g.begun.response is None or repeats:
            return view(**arguments)
        return _replay(g.begun.response)

    return call_once


def _remember(response: Response) -> Response:
    begun: IdempotentRequest | None = g.pop("begun", None)
    if begun is None:
        return response
    if begun.response is not None:
        response.headers[REPLAYED] = "true"
    else:
        services().idempotency.end(begun, _response_to_store(response))
    return response


def _response_to_store(response: Response) -> StoredResponse | None:
    """What is stored of a response; None if another attempt may change it."""
    if response.status_code >= 500 or response.status_code in _TRANSIENT:
        return None
    return StoredResponse(
        status=response.status_code,
        content_type=response.content_type or "",
        location=response.headers.get("Location", ""),
        body=b"" if g.repeats else response.get_data(),
    )


def _replay(stored: StoredResponse) -> Response:
    response = make_response(stored.body, stored.status)
    response.content_type = stored.content_type
    if stored.location:
        response.headers["Location"] = stored.location
    return response


def _hash_key(given: str) -> str:
    """The hash under which the key is stored."""
    if not _KEY.fullmatch(given):
        seen = f"has {len(given)} characters" if len(given) > 255 else f"is {given!r}"
        detail = f"The header {seen}. Use 1 to 255 visible ASCII characters."
        raise Invalid([{"field": HEADER, "code": FieldInvalid.code, "detail": detail}])
    return hashlib.sha256(given.encode()).hexdigest()


def _request_digest() -> str:
    """The digest of the path and the body; the boundaries of a form do not matter.

    Raises:
        RequestEntityTooLarge: the body is larger than the endpoint accepts.
    """
    digest = hashlib.sha256()
    parts = _parts_of_form() if request.mimetype == "multipart/form-data" else [request.get_data()]
    for part in (request.full_path.encode(), request.mimetype.encode(), *parts):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _parts_of_form() -> Iterable[bytes]:
    for name, value in sorted(request.form.items(multi=True)):
        yield f"{name}={value}".encode("utf-8", "surrogateescape")
    for name, file in sorted(request.files.items(multi=True), key=lambda item: item[0]):
        yield f"{name}={file.filename}".encode("utf-8", "surrogateescape")
        yield _digest_of_file(file.stream)


def _digest_of_file(stream: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE_BYTES):
        digest.update(piece)
    stream.seek(0)
    return digest.digest()
