"""Options and findings of the check of a file of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from stentor.errors import StentorError
from stentor.speech import SpeechParams

REJECT: Final = "reject"
SKIP: Final = "skip"
#: Errors that a report names; all of them are in the CSV.
FIRST_ERRORS: Final = 100
#: Names of voices, and of metadata, that a report lists at most.
MOST_NAMES: Final = 1000
#: Longest name of a column, and longest sentence, that a fault has. There may be a hundred thousand of them.
MOST_NAME_CHARS, MOST_DETAIL_CHARS = 64, 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """How to check a file.

    ``defaults`` may have the speech parameters and ``cache``. Their values are not checked again, except for the voice,
    which is looked up.
    """

    #: The name that the file came with. What the file is, it says itself.
    name: str = ""
    #: What rows get that do not say it themselves.
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: The voice of rows when neither they nor the defaults name one.
    default_voice: str
    #: ``reject``: a bad row refuses the file; ``skip``: it is handed on with its error.
    on_error: str = REJECT
    #: Most bytes of the file, and of what it unpacks to.
    max_bytes: int = 2**30
    max_rows: int = 10_000_000
    max_text_chars: int = 10_000

    def row_defaults(self, params: type[SpeechParams] = SpeechParams) -> dict[str, Any]:
        """The values of a row that has nothing but its text; None is left out."""
        defaults = {name: value for name, value in self.defaults.items() if value is not None}
        own = params(voice=self.default_voice).values() | {"cache": True} | defaults
        return {name: value for name, value in own.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong. Rows are counted from 1 after the header; row 0 is the header, or the whole file."""

    row: int
    #: The column's name; empty when the whole row is meant.
    column: str
    code: str
    detail: str

    @classmethod
    def of(cls, error: StentorError, *, row: int, column: str = "") -> Fault:
        """The fault that an error names; a lone surrogate in its sentence is written as an escape."""
        name, detail = column[:MOST_NAME_CHARS], error.detail[:MOST_DETAIL_CHARS]
        return cls(row=row, column=_writable(name), code=error.code, detail=_writable(detail))


def _writable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What was found in a file that was checked to its end. ``dataclasses.asdict`` gives it as JSON can have it."""

    #: Rows with something in them, good and bad.
    rows: int
    good_rows: int
    bad_rows: int
    #: Objects of good rows that were written: all of them, unless the file is refused.
    chunks: int
    #: Characters of the cleaned texts of good rows.
    chars: int
    #: How much audio the good rows make, roughly.
    estimated_audio_s: float
    #: ``utf-8``, ``utf-16-le``, ``utf-16-be`` or ``gb18030``.
    encoding: str
    #: ``csv``, ``tsv`` or ``jsonl``.
    format: str
    #: What parts the columns; None in JSON Lines.
    delimiter: str | None
    #: All columns in the order in which they were first seen.
    columns: tuple[str, ...]
    #: Those that are kept as metadata.
    metadata_columns: tuple[str, ...]
    #: How often each code was found: more than ``bad_rows`` together, when rows have several faults.
    error_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: The first faults, in row order.
    errors: tuple[Fault, ...] = ()
    #: Rows by voice, of good rows.
    voices: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: Ids of uploaded voices among them.
    recordings: tuple[str, ...] = ()
    #: Whether rows are to be joined into one file per group.
    groups: bool = False
