"""Rows of a file of texts, whether it is CSV, TSV or JSON Lines: what each says, by column."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from stentor.errors import BulkError, FileEmpty, FileUnreadable, RowMalformed
from worker.bulks.intake.columns import KNOWN, MOST_COLUMNS, TEXT, check_header, name_fault, slip_of
from worker.bulks.intake.encodings import Place
from worker.bulks.intake.names import shown
from worker.bulks.intake.report import MOST_NAMES

#: What parts columns, the most likely first.
DELIMITERS: Final = (",", ";", "\t", "|")
#: Longest header line, in characters. With all names as long as they may be it has about 2,000.
MAX_HEADER_CHARS: Final = 65_536
#: The line that names the delimiter for Excel.
_SEP: Final = re.compile(r'"?sep=([^\w\s"\x00]|\t)"?', re.IGNORECASE)
_NO_TABLE: Final = "send CSV, TSV or JSON Lines, plain or gzip"

#: What a row says, by column, without columns that are empty; or why it cannot be read.
Fields = dict[str, Any] | BulkError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A file of texts behind its header."""

    format: str
    delimiter: str | None
    #: Names of columns, in order; in JSON Lines those of the rows so far.
    columns: dict[str, None]
    #: One row at a time; ``Place.row`` is its number. Blank rows are passed over.
    rows: Iterator[Fields]


class HeaderRefused(Exception):
    """A header has faults: each with its column, the first of them the reason."""

    def __init__(self, faults: list[tuple[str, BulkError]]) -> None:
        super().__init__(faults[0][1].detail)
        self.faults = faults


def open_table(lines: Iterator[str], place: Place) -> Table:
    """The table that the lines are.

    Raises:
        HeaderRefused: columns are missing, unknown or double.
        FileEmpty, FileUnreadable, RowMalformed: there is no header, or it cannot be read.
        BulkError: from the lines; and so from the rows, later.
    """
    # The limit is the process's. This module has one of its own, for whole rows.
    csv.field_size_limit(max(csv.field_size_limit(), place.max_chars))
    first = _first(lines, place)
    _refuse_markup(first.lstrip())
    if first.lstrip().startswith("{"):
        seen: dict[str, None] = {}
        rows = _objects(itertools.chain((first,), lines), place, seen)
        return Table(format="jsonl", delimiter=None, columns=seen, rows=rows)
    declared = _SEP.fullmatch(first.rstrip("\r\n"))
    if declared:
        first = _first(lines, place)
    limit, place.max_chars = place.max_chars, MAX_HEADER_CHARS
    if len(first) > MAX_HEADER_CHARS:
        raise RowMalformed(f"the header line has {len(first)} characters; at most {MAX_HEADER_CHARS} are allowed")
    delimiter = declared[1] if declared else _delimiter(first)
    reader = csv.reader(itertools.chain((first,), lines), delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
    except csv.Error as exc:
        raise RowMalformed(f"the header cannot be read: {_csv_reason(exc, place)}") from exc
    faults = check_header(names)
    if faults:
        raise HeaderRefused(faults)
    place.max_chars = limit
    columns = dict.fromkeys(name for name in names if name.strip())
    kind = "tsv" if delimiter == "\t" else "csv"
    return Table(format=kind, delimiter=delimiter, columns=columns, rows=_records(reader, names, place))


def _first(lines: Iterator[str], place: Place) -> str:
    """The next line that is not blank."""
    for line in lines:
        if not line.isspace():
            return line
        place.pass_over()
    raise FileEmpty("The file has only blank lines. Add a header line and at least one row.")


def _refuse_markup(first: str) -> None:
    if first.startswith("<"):
        raise FileUnreadable(f"the file is a page or XML: it begins with {first[:30].rstrip()!r}; {_NO_TABLE}")
    if first.startswith("["):
        raise FileUnreadable(
            "The file is a JSON array. Send JSON Lines: one object per line, without a comma after it."
        )


def _delimiter(header: str) -> str:
    """What parts the columns of a header line: what makes most sense of it, not what is there most often."""

    def sense(delimiter: str) -> tuple[bool, int, int]:
        try:
            names = next(csv.reader((header,), delimiter=delimiter), [])
        except csv.Error:
            return False, 0, 0
        near = sum(name in KNOWN or slip_of(name) is not None for name in names[:MOST_COLUMNS])
        return TEXT in names, near, len(names)

    return max(DELIMITERS, key=sense)


def _records(reader: Any, names: list[str], place: Place) -> Iterator[Fields]:
    """What rows of CSV say."""
    width = max(at for at, name in enumerate(names, 1) if name.strip())
    nameless = [at for at, name in enumerate(names[:width]) if not name.strip()]
    place.row = 1
    while True:
        place.chars = 0
        begun = place.line + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield RowMalformed(f"the row cannot be read: {_csv_reason(exc, place)}, in line {begun} of the file")
            place.row += 1
            continue
        if not any(values) or (len(values) == 1 and values[0].isspace()):
            place.pass_over()
            continue
        if len(values) != width and (len(values) < width or any(values[width:])):
            yield RowMalformed(_count(values, width, begun))
        elif nameless and (full := [at for at in nameless if values[at]]):
            yield RowMalformed(f"the row has a value in column {full[0] + 1}, which has no name in the header")
        else:
            yield {name: value for name, value in zip(names, values, strict=False) if value}
        place.row += 1


def _count(values: list[str], width: int, line: int) -> str:
    more = "; a text with a delimiter in it needs quotes around it" if len(values) > width else ""
    return f"The row, line {line} of the file, has {len(values)} fields. The header has {width}{more}"


def _csv_reason(error: csv.Error, place: Place) -> str:
    said = str(error)
    if "unexpected end of data" in said:
        return f"a quote opens that does not end until line {place.line}, the file's last"
    if "expected after" in said:
        return "a quote within quotes is not doubled, or something follows a closing quote"
    return said


def _objects(lines: Iterator[str], place: Place, seen: dict[str, None]) -> Iterator[Fields]:
    """What lines of JSON say."""
    decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number).decode
    place.row = 1
    for line in lines:
        place.chars = 0
        if line.isspace():
            place.pass_over()
            continue
        try:
            value = decode(line)
        except (ValueError, RecursionError) as exc:
            yield RowMalformed(
                f"Line {place.line} of the file is not JSON: {_json_reason(exc)}. Write one object per line."
            )
        else:
            if isinstance(value, dict) and len(seen) < MOST_NAMES:
                seen.update((name, None) for name in value if name_fault(name) is None)
            yield _fields(value, place)
        place.row += 1


def _fields(value: Any, place: Place) -> Fields:
    if isinstance(value, dict):
        return {name: one for name, one in value.items() if one is not None and one != ""}
    kind = {str: "a text", list: "a list", bool: "a truth value", int: "a number", float: "a number"}.get(
        type(value), "null"
    )
    return RowMalformed(f"Line {place.line} of the file is {kind}. Write an object, {{\"text\": ...}}.")  # fmt: skip


def _json_reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    # Python's own sentence about a number of thousands of digits goes on with advice.
    return str(error).partition(";")[0]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it has {shown(name)} twice")
        found[name] = value
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")
