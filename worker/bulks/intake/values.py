"""Values of a row, read from text or JSON, in their ranges: those of api/jobs/schemas.py."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from stentor.errors import FieldInvalid
from stentor.formats import FORMATS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from stentor.jobs.job import MAX_SPEED, MIN_SPEED
from worker.bulks.intake.columns import MAX_VALUE_CHARS
from worker.bulks.intake.names import check_part, shown, unprintable

MAX_SEED: Final = 2**32 - 1
MAX_PAUSE_MS: Final = 60_000
MAX_ID_CHARS: Final = 200
MAX_GROUP_CHARS: Final = 120
_DECIMAL: Final = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,4})?", re.ASCII)
#: Tools that have only one kind of number write 7 as 7.0.
_WHOLE: Final = re.compile(r"([+-]?\d{1,20})(?:\.0{1,20})?", re.ASCII)
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")


def speed(value: Any) -> float:
    """A speed, or FieldInvalid."""
    found = _decimal(value)
    if found is None or not MIN_SPEED <= found <= MAX_SPEED:
        raise FieldInvalid(
            f"speed is {shown(value)}; a number from {MIN_SPEED} to {MAX_SPEED} is wanted{_comma(value)}"
        )
    return found


def seed(value: Any) -> int:
    """A seed, or FieldInvalid."""
    return _within("seed", value, 0, MAX_SEED)


def sample_rate_hz(value: Any) -> int:
    """A sample rate, or FieldInvalid."""
    return _within("sample_rate_hz", value, MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ)


def pause_ms(value: Any) -> int:
    """A pause after a row in its group's file, or FieldInvalid."""
    return _within("pause_ms", value, 0, MAX_PAUSE_MS)


def _within(name: str, value: Any, least: int, most: int) -> int:
    found = _whole(value)
    if found is None or not least <= found <= most:
        raise FieldInvalid(f"{name} is {shown(value)}; a whole number from {least} to {most} is wanted{_comma(value)}")
    return found


def _comma(value: Any) -> str:
    return ", with a point instead of a comma" if isinstance(value, str) and "," in value else ""


def _decimal(value: Any) -> float | None:
    if isinstance(value, str):
        found = _DECIMAL.fullmatch(value.strip())
        return float(found[0]) if found else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # No bool, though Python has it for a number; and no integer that is too large for one with a point.
    return float(value) if type(value) is int and abs(value) < 1e6 else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        return int(found[1]) if found else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if type(value) is int else None


def audio_format(value: Any) -> str:
    """The name of a format, or FieldInvalid."""
    name = value.strip() if isinstance(value, str) else value
    if not isinstance(name, str) or name not in FORMATS:
        raise FieldInvalid(f"format is {shown(value)}; one of {', '.join(FORMATS)} is wanted")
    return name


def cache(value: Any) -> bool:
    """A truth value, or FieldInvalid."""
    found = value if isinstance(value, bool) else _TRUTH.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise FieldInvalid(f"cache is {shown(value)}; true or false is wanted")
    return found


def text_of(name: str, value: Any) -> str:
    """A value that has to be text, or FieldInvalid."""
    if not isinstance(value, str):
        raise FieldInvalid(f"{name} is {shown(value)}; text in quotes is wanted")
    return value


def client_id(value: Any) -> str:
    """The client's name for a row, or FieldInvalid. JSON may have it as a whole number."""
    found = str(value) if type(value) is int and abs(value) < 10**40 else text_of("id", value)
    if len(found) > MAX_ID_CHARS:
        raise FieldInvalid(f"id has {len(found)} characters; at most {MAX_ID_CHARS} are allowed")
    char = unprintable(found)
    if char or found.isspace():
        seen = f"has the character U+{ord(char):04X}" if char else "has nothing visible"
        raise FieldInvalid(f"id {shown(found)} {seen}; letters, numbers and signs are wanted")
    return found


def group(value: Any) -> str:
    """The group that a row belongs to, or FieldInvalid, FilenameUnsafe: its file is called so."""
    found = text_of("group", value)
    if len(found) > MAX_GROUP_CHARS:
        raise FieldInvalid(f"group has {len(found)} characters; at most {MAX_GROUP_CHARS} are allowed")
    if "/" in found:
        raise FieldInvalid(f"group is {shown(found)}; a name without '/' is wanted, as its file is called so")
    check_part(found, whole=found)
    return found


def metadata(name: str, value: Any) -> str:
    """A value as metadata has it, which is text, or FieldInvalid."""
    if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
        raise FieldInvalid(f"{shown(name)} is {shown(value)}; text, a number or a truth value is wanted")
    found = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else _number(name, value)
    if len(found) > MAX_VALUE_CHARS:
        raise FieldInvalid(f"{shown(name)} has {len(found)} characters; at most {MAX_VALUE_CHARS} are allowed")
    if bad := no_text(found):
        code = f"U+{ord(bad[0]):04X}"
        raise FieldInvalid(f"{shown(name)} has {code} at character {bad.start() + 1}, which no text has")
    return found


def no_text(value: str) -> re.Match[str] | None:
    """The first character that no text has: NUL, half of a pair."""
    return None if value.isascii() and "\x00" not in value else _NO_TEXT.search(value)


def _number(name: str, value: float) -> str:
    if abs(value) >= 10**40:
        raise FieldInvalid(f"{shown(name)} is a number of more than 40 digits; a shorter one, or text is wanted")
    return str(value)
