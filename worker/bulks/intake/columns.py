"""Names of columns: which are known, which are kept as metadata, and which are slips of the pen."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from rapidfuzz.distance import OSA

from stentor.errors import BulkError, ColumnDuplicate, ColumnInvalid, ColumnMissing, ColumnUnknown
from stentor.jobs.job import MAX_METADATA, MAX_METADATA_NAME_CHARS
from stentor.speech import SpeechParams, field_names
from worker.bulks.intake.names import shown, unprintable

TEXT: Final = "text"


def known_columns(params: type[SpeechParams] = SpeechParams) -> tuple[str, ...]:
    """Columns that have a meaning, apart from all that begin with ``emotion``."""
    return (TEXT, "id", *field_names(params), "cache", "filename", "group", "pause_ms")


KNOWN: Final = known_columns()
EMOTION: Final = "emotion"
#: Columns whose names are looked at: more than a file may have, of whatever kind.
MOST_COLUMNS: Final = 64
#: What people call a known column, too far from it for a slip.
_ALIASES: Final = {"pause": "pause_ms", "samplerate": "sample_rate_hz"}
#: Words that are one letter away from a known name, and honest names of metadata; ``cached`` is in every manifest.
_HONEST: Final = frozenset(
    {"next", "test", "tent", "feed", "need", "seen", "deed", "seek", "weed", "sped", "speech", "cached", "formal"}
)


def check_header(names: Sequence[str]) -> list[tuple[str, BulkError]]:
    """Everything that is wrong with the names in a header, with the column; nothing if rows can be read by them."""
    faults: list[tuple[str, BulkError]] = []
    seen: set[str] = set()
    for at, name in enumerate(names[:MOST_COLUMNS], 1):
        if not name.strip():
            continue
        if name in seen:
            faults.append(
                (name, ColumnDuplicate(f"The column {shown(name)} occurs twice, again at {at}. Use it once."))
            )
        elif fault := name_fault(name):
            faults.append((name, fault))
        seen.add(name)
    metadata = [name for name in names if name.strip() and not is_known(name)]
    if len(metadata) > MAX_METADATA:
        faults.append(("", ColumnInvalid(_too_many(len(metadata), metadata[-1]))))
    if TEXT not in seen and not any(
        isinstance(fault, ColumnUnknown) and slip_of(name) == TEXT for name, fault in faults
    ):
        faults.append((TEXT, ColumnMissing(_no_text(names))))
    return faults  # fmt: skip


def _too_many(count: int, last: str) -> str:
    return (
        f"the header has {count} columns that are kept as metadata, the last of them {shown(last)}; "
        f"at most {MAX_METADATA} are allowed"
    )


def _no_text(names: Sequence[str]) -> str:
    seen = ", ".join(shown(name) for name in names[:MAX_METADATA])
    more = f" and {len(names) - MAX_METADATA} more" if len(names) > MAX_METADATA else ""
    return (
        f"no column is named 'text'; the first line has {seen}{more}. If that is a row already, put a header line "
        "before it"
    )


def is_known(name: str) -> bool:
    """Whether a column has a meaning of its own, and is not kept as metadata."""
    return name in KNOWN or name.startswith(EMOTION)


def name_fault(name: str) -> BulkError | None:
    """Why no column can have this name; None if one can.

    The error may be looked at again and again, but is not to be raised: it would gather tracebacks.
    """
    if len(name) > MAX_METADATA_NAME_CHARS:
        return ColumnInvalid(
            f"The column name {shown(name)} has {len(name)} characters. Use at most {MAX_METADATA_NAME_CHARS}."
        )
    return _fault_of_short(name)


@functools.lru_cache(maxsize=1024)
def _fault_of_short(name: str) -> BulkError | None:
    if is_known(name):
        return None
    known = slip_of(name)
    if known:
        return ColumnUnknown(f"there is no column {shown(name)}; did you mean {known!r}?")
    if unprintable(name):
        return ColumnInvalid(f"The column {shown(name)} has a control character in its name. Remove it.")
    return None


def slip_of(name: str) -> str | None:
    """The known column that somebody meant who wrote ``name``; None if it is a name of its own."""
    return _slip_of_short(name) if len(name) <= MAX_METADATA_NAME_CHARS else None


@functools.lru_cache(maxsize=1024)
def _slip_of_short(name: str) -> str | None:
    plain = _plain(name)
    if plain in _ALIASES:
        return _ALIASES[plain]
    for known in (*KNOWN, EMOTION):
        if plain == _plain(known):
            return known
    if plain in _HONEST:
        return None
    # Optimal string alignment: letters left out, put in, changed, or swapped with their neighbour.
    near = [(OSA.distance(plain, _plain(known)), known) for known in (*KNOWN, EMOTION)]
    far, known = min(near)
    length = len(_plain(known))
    return known if far <= (0 if length < 4 else 1 if length < 7 else 2) else None


def _plain(name: str) -> str:
    """A name without what hands get wrong: case, width, and what stands between words."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
