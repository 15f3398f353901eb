"""JSON bodies: read strictly, once, and with a bounded cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flask import Request, json
from werkzeug.exceptions import RequestEntityTooLarge

from api.http.problems import Invalid
from stentor.errors import ContentTypeUnsupported, FieldInvalid, JsonInvalid, TextInvalid

#: Endpoints whose body may be left out.
BODY_OPTIONAL = frozenset({"catalogue.unload_device", "catalogue.load_device"})
#: Maximum number of names in all objects of a body. 1,000 jobs with all their fields and 16 metadata have 27,000. The
#: cost of checking grows with this number.
MAX_NAMES = 40_000
#: Fields with a cleaner of their own, which names a control character by its place (``stentor.text``).
TEXT_FIELDS = frozenset({"text", "input"})


class JsonRequest(Request):
    """A request whose body must be a JSON object, even where Flask would ignore an invalid one."""

    _body: dict[str, Any] | None = None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """The body as an object.

        Raises:
            ContentTypeUnsupported, JsonInvalid, FieldInvalid: the body is not a JSON object, or has what none may have.
        """
        if self.endpoint in BODY_OPTIONAL and not self.mimetype and not self.get_data(cache=cache):
            return {}
        if self._body is None:
            self._body = self._parse(self.get_data(cache=cache))
        return self._body

    def _parse(self, data: bytes) -> dict[str, Any]:
        if not self.is_json:
            raise ContentTypeUnsupported(
                f"The content type is {self.mimetype or 'missing'}. This endpoint accepts application/json."
            )
        body = parse_json(data)
        if not isinstance(body, dict):
            raise FieldInvalid(f"The body is a JSON {type(body).__name__}. Send a JSON object.")
        return body


class _Names:
    """Makes objects of their pairs, and counts the names of one body."""

    def __init__(self) -> None:
        self._count = 0

    def object_of(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        self._count += len(pairs)
        if self._count > MAX_NAMES:
            raise FieldInvalid(f"The body has more than {MAX_NAMES} fields. Send less in one request.")
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FieldInvalid(f"The field {_shown(twice)} occurs twice in one object. Send it once.")
        return found


def parse_json(data: bytes) -> Any:
    """A JSON document.

    Raises:
        JsonInvalid: it is not JSON.
        FieldInvalid: an object has a name twice, all have too many names, or a string has a lone surrogate or a NUL.
    """
    try:
        body = json.loads(data, object_pairs_hook=_Names().object_of)
    except RequestEntityTooLarge:
        raise
    except (ValueError, RecursionError) as exc:
        raise JsonInvalid(f"The body is not JSON: {exc}.") from exc
    # Both can only be written as escapes; bodies without them, nearly all, are not walked through.
    lowered = data.lower()
    if b"\\ud" in lowered or b"\\u0000" in lowered:
        _check_strings(body)
    return body


def _check_strings(body: Any) -> None:
    for place, value in _strings(body, ()):
        field = ".".join(place).encode("utf-8", "backslashreplace").decode() or "body"
        if any("\ud800" <= char <= "\udfff" for char in value):
            detail = "The string has a lone surrogate, which is not a character. Send valid Unicode."
            raise Invalid([{"field": field, "code": TextInvalid.code, "detail": detail}])
        if "\0" in value and (not place or place[-1] not in TEXT_FIELDS):
            detail = "The string has a NUL character. Remove it."
            raise Invalid([{"field": field, "code": FieldInvalid.code, "detail": detail}])


def _strings(value: Any, place: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """All strings of a document with their places, the names in objects included."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield (*place, name), name
            yield from _strings(inner, (*place, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _strings(inner, (*place, str(at)))


def _shown(name: str) -> str:
    return repr(name[:60]).encode("utf-8", "backslashreplace").decode()
