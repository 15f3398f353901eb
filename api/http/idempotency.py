"""`Idempotency-Key`: a POST that is sent again with the same key is answered as it was the first time.

The answer alone would not do: a process may die, or Redis hang, between making jobs and remembering that. So what is
made under a key has ids that are derived from the first try, and making it again finds it made.
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
from api.http.idempotency_records import Answer, Begun
from api.http.problems import Invalid
from api.services import services
from stentor.errors import FieldInvalid

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: Statuses of answers that another try may change.
_PASSING = frozenset({401, 403, 429})
#: Bytes of an uploaded file that are in memory at a time.
_PIECE_BYTES = 2**20

View = Callable[..., ResponseReturnValue]
AnyView = TypeVar("AnyView", bound=Callable[..., Any])


def install(app: Flask) -> None:
    """Let every POST under ``/v1`` heed the header. Call it when all endpoints are registered.

    The endpoints are wrapped, for hooks would run before those of the blueprints: keys and sizes are checked before a
    body is read.
    """
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and rule.rule.startswith("/v1"):
            app.view_functions[rule.endpoint] = _once(cast("View", app.view_functions[rule.endpoint]))
    app.after_request(_remember)


def replays_by_repeating(view: AnyView) -> AnyView:
    """Mark an endpoint whose answers are not kept: it is called again, and makes what it has made before."""
    view.__dict__["replays_by_repeating"] = True
    return view


def new_id(kind: str, number: int = 0) -> str:
    """A new id as ``job_01k...``. In a request with an idempotency key it is the same at every try.

    ``number`` tells apart what one request makes of one kind.
    """
    begun: Begun | None = g.get("begun")
    if begun is None:
        return f"{kind}_{ULID()}".lower()
    drawn = hashlib.sha256(f"{begun.base}/{kind}/{number}".encode()).digest()
    # The first try's millisecond, and 80 bits that are as good as random.
    return f"{kind}_{ULID.from_bytes(begun.base.bytes[:6] + drawn[:10])}".lower()


def _once(view: View) -> View:
    repeats = getattr(view, "replays_by_repeating", False)

    @functools.wraps(view)
    def answered_once(**arguments: Any) -> ResponseReturnValue:
        name = request.headers.get(HEADER)
        if name is None or request.method != "POST":
            return view(**arguments)
        g.begun = services().idempotency.begin(owner(), _name(name), _digest())
        g.repeats = repeats
        if g.begun.answer is None or repeats:
            return view(**arguments)
        return _replay(g.begun.answer)

    return answered_once


def _remember(response: Response) -> Response:
    begun: Begun | None = g.pop("begun", None)
    if begun is None:
        return response
    if begun.answer is not None:
        response.headers[REPLAYED] = "true"
    else:
        services().idempotency.end(begun, _answer(response))
    return response


def _answer(response: Response) -> Answer | None:
    """What is remembered of an answer; None of one that another try may change."""
    if response.status_code >= 500 or response.status_code in _PASSING:
        return None
    return Answer(
        status=response.status_code,
        content_type=response.content_type or "",
        location=response.headers.get("Location", ""),
        body=b"" if g.repeats else response.get_data(),
    )


def _replay(answer: Answer) -> Response:
    response = make_response(answer.body, answer.status)
    response.content_type = answer.content_type
    if answer.location:
        response.headers["Location"] = answer.location
    return response


def _name(given: str) -> str:
    """The hash under which the key is remembered."""
    if not _KEY.fullmatch(given):
        seen = f"has {len(given)} characters" if len(given) > 255 else f"is {given!r}"
        detail = f"the header {seen}; 1 to 255 visible ASCII characters are wanted"
        raise Invalid([{"field": HEADER, "code": FieldInvalid.code, "detail": detail}])
    return hashlib.sha256(given.encode()).hexdigest()


def _digest() -> str:
    """What tells one request from another: its path and its body, however a form is parted.

    Raises:
        RequestEntityTooLarge: the body is larger than the endpoint takes.
    """
    found = hashlib.sha256()
    parts = _parts_of_form() if request.mimetype == "multipart/form-data" else [request.get_data()]
    for part in (request.full_path.encode(), request.mimetype.encode(), *parts):
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.hexdigest()


def _parts_of_form() -> Iterable[bytes]:
    for name, value in sorted(request.form.items(multi=True)):
        yield f"{name}={value}".encode("utf-8", "surrogateescape")
    for name, file in sorted(request.files.items(multi=True), key=lambda item: item[0]):
        yield f"{name}={file.filename}".encode("utf-8", "surrogateescape")
        yield _digest_of_file(file.stream)


def _digest_of_file(stream: IO[bytes]) -> bytes:
    found = hashlib.sha256()
    while piece := stream.read(_PIECE_BYTES):
        found.update(piece)
    stream.seek(0)
    return found.digest()
