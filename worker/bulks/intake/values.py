"""Values of a row, read from text or JSON, in the ranges that HTTP has: speech parameters, and a row's own columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from stentor.errors import FieldInvalid
from stentor.jobs.job import MAX_METADATA_VALUE_CHARS
from stentor.speech import SpeechParams, params_of
from worker.bulks.intake.names import check_part, shown, unprintable

MAX_PAUSE_MS: Final = 60_000
MAX_ID_CHARS: Final = 200
MAX_GROUP_CHARS: Final = 120
#: Values of a column that are remembered, and the longest of them.
VALUES_KEPT, VALUE_CHARS = 1000, 64
#: How people and tools write numbers; pydantic alone would take `1_000` and `inf`, too.
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
_KINDS: Final = {"number": "a number", "integer": "a whole number", "string": "text"}


class FieldReader:
    """Reads values of one column with pydantic, and remembers those of text: files repeat a few values."""

    def __init__(self, name: str, annotated: Any) -> None:
        """``annotated`` is the type with its range."""
        self._name = name
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotated)
        schema = self._adapter.json_schema()
        self._schema = next((one for one in schema.get("anyOf", ()) if one["type"] != "null"), schema)
        self._known: dict[str, Any] = {}

    def __call__(self, value: Any) -> Any:
        """The value in its type.

        Raises:
            FieldInvalid: it is out of range, or of another type.
        """
        if not isinstance(value, str):
            return self._read(value)
        found = self._known.get(value)
        if found is None:
            found = self._read(value.strip())
            if len(self._known) < VALUES_KEPT and len(value) <= VALUE_CHARS:
                self._known[value] = found
        return found

    def _read(self, value: Any) -> Any:
        if self._is_written_right(value):
            try:
                return self._adapter.validate_python(value)
            except (ValidationError, OverflowError):
                pass
        comma = " Write numbers with a point instead of a comma." if isinstance(value, str) and "," in value else ""
        raise FieldInvalid(f"The value of {self._name} is {shown(value)}. Allowed: {self._allowed()}.{comma}") from None

    def _is_written_right(self, value: Any) -> bool:
        if isinstance(value, str) and self._schema["type"] != "string":
            return bool(_NUMBER.fullmatch(value))
        # Python and pydantic have truth values for numbers.
        return not isinstance(value, bool)

    def _allowed(self) -> str:
        if "enum" in self._schema:
            return ", ".join(self._schema["enum"])
        kind = _KINDS[self._schema["type"]]
        if "minimum" in self._schema:
            return f"{kind} from {self._schema['minimum']} to {self._schema['maximum']}"
        if "maxLength" in self._schema:
            return f"{kind} of at most {self._schema['maxLength']} characters"
        return kind


def speech_readers(params: type[SpeechParams] = SpeechParams) -> dict[str, Callable[[Any], Any]]:
    """What reads each speech parameter, by column. Whether a voice of that name exists is not its to say."""
    return {param.name: FieldReader(param.name, param.annotated) for param in params_of(params)}


def pause_reader() -> FieldReader:
    """What reads the pause after a row in its group's file."""
    return FieldReader("pause_ms", Annotated[int, Field(ge=0, le=MAX_PAUSE_MS)])


def cache(value: Any) -> bool:
    """A truth value, or FieldInvalid."""
    found = value if isinstance(value, bool) else _TRUTH.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise FieldInvalid(f"The value of cache is {shown(value)}. Allowed: true, false.")
    return found


def text_of(name: str, value: Any) -> str:
    """A value that has to be text, or FieldInvalid."""
    if not isinstance(value, str):
        raise FieldInvalid(f"The value of {name} is {shown(value)}. Allowed: text in quotes.")
    return value


def client_id(value: Any) -> str:
    """The client's name for a row, or FieldInvalid. JSON may have it as a whole number."""
    found = str(value) if type(value) is int and abs(value) < 10**40 else text_of("id", value)
    if len(found) > MAX_ID_CHARS:
        raise FieldInvalid(f"The id has {len(found)} characters. Use at most {MAX_ID_CHARS}.")
    char = unprintable(found)
    if char or found.isspace():
        seen = f"has the character U+{ord(char):04X}" if char else "has no visible character"
        raise FieldInvalid(f"The id {shown(found)} {seen}. Use letters, digits and punctuation.")
    return found


def group(value: Any) -> str:
    """The group that a row belongs to, or FieldInvalid, FilenameUnsafe: its file is named after it."""
    found = text_of("group", value)
    if len(found) > MAX_GROUP_CHARS:
        raise FieldInvalid(f"The group has {len(found)} characters. Use at most {MAX_GROUP_CHARS}.")
    if "/" in found:
        raise FieldInvalid(f"The group {shown(found)} contains '/'. Remove it: the group names a file.")
    check_part(found, whole=found)
    return found


def metadata(name: str, value: Any) -> str:
    """A value as metadata has it, which is text, or FieldInvalid."""
    if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
        raise FieldInvalid(f"The value of {shown(name)} is {shown(value)}. Allowed: text, a number, true, false.")
    found = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else _number(name, value)
    if len(found) > MAX_METADATA_VALUE_CHARS:
        raise FieldInvalid(
            f"The value of {shown(name)} has {len(found)} characters. Use at most {MAX_METADATA_VALUE_CHARS}."
        )
    if bad := no_text(found):
        code = f"U+{ord(bad[0]):04X}"
        raise FieldInvalid(
            f"The value of {shown(name)} has {code} at character {bad.start() + 1}, which text cannot contain."
        )
    return found


def no_text(value: str) -> re.Match[str] | None:
    """The first character that no text has: NUL, half of a pair."""
    return None if value.isascii() and "\x00" not in value else _NO_TEXT.search(value)


def _number(name: str, value: float) -> str:
    if abs(value) >= 10**40:
        raise FieldInvalid(f"The number in {shown(name)} has more than 40 digits. Use a shorter number, or text.")
    return str(value)
