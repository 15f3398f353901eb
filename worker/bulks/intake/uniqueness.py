"""What has to be seen across all rows: names that are there twice, and groups. It is kept in a file, not in memory."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stentor.errors import BulkError, FieldInvalid, FilenameDuplicate, IdDuplicate
from worker.bulks.intake.names import shown
from worker.bulks.intake.rows import CheckedRow

#: Memory for pages of the scratch file, in KiB.
CACHE_KIB: Final = 16_384


class Across:
    """Compares each row with all rows before it. A context: the scratch file ends with it."""

    def __init__(self, scratch: Path) -> None:
        """``scratch`` is made, and must not be there."""
        self._path = scratch
        self._db = sqlite3.connect(scratch, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for table in ("ids", "filenames"):
            self._db.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, row INTEGER) WITHOUT ROWID")
        self._db.execute(
            'CREATE TABLE groups (key TEXT PRIMARY KEY, "group" TEXT, "rows" INTEGER, first_row INTEGER, '
            'last_row INTEGER, "format" TEXT) WITHOUT ROWID'
        )
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

    def compare(self, rows: Sequence[CheckedRow]) -> None:
        """Note faults in rows whose id, file name or group does not go with that of a row before it."""
        self._firsts("id", "ids", rows, str, IdDuplicate)
        self._firsts("filename", "filenames", rows, _fold, FilenameDuplicate)
        grouped = [row for row in rows if "group" in row.line]
        if grouped:
            self._group(grouped)

    def _firsts(
        self, column: str, table: str, rows: Sequence[CheckedRow], key: Callable[[str], str], error: type[BulkError]
    ) -> None:
        keyed = [(key(line[column]), line["row"]) for line in (row.line for row in rows) if column in line]
        if not keyed:
            return
        before = self._db.total_changes
        self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", keyed)  # noqa: S608 -- a name of ours
        if self._db.total_changes - before == len(keyed):
            return
        for row in rows:
            if column not in row.line:
                continue
            name = row.line[column]
            ((first,),) = self._db.execute(f"SELECT row FROM {table} WHERE key = ?", (key(name),))  # noqa: S608
            if first != row.number:
                case = ", upper and lower case aside" if column == "filename" else ""
                row.wrong(column, error(f"Row {first} already has the {column} {shown(name)}{case}. Use each once."))
                del row.line[column]

    def _group(self, rows: Sequence[CheckedRow]) -> None:
        groups: dict[str, _GroupRows] = {}
        for row in rows:
            key = _fold(row.line["group"])
            group = (
                groups.get(key) or self._known(key) or _GroupRows(row.line["group"], 0, row.number, row.number, None)
            )
            groups[key] = group
            group.take(row)
        values = [(key, *dataclasses.astuple(group)) for key, group in groups.items()]
        self._db.executemany("INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?, ?)", values)

    def _known(self, key: str) -> _GroupRows | None:
        found = self._db.execute(f"SELECT {_GROUP_FIELDS} FROM groups WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return _GroupRows(*found) if found else None

    def groups(self) -> Iterator[str]:
        """A line of JSON for each group, in the order of their first rows. Rows with faults are counted in."""
        for values in self._db.execute(f"SELECT {_GROUP_FIELDS} FROM groups ORDER BY first_row"):  # noqa: S608
            group = dataclasses.asdict(_GroupRows(*values))
            yield json.dumps(group | {"format": group["format"] or "wav"}, ensure_ascii=False) + "\n"


@dataclasses.dataclass(slots=True)
class _GroupRows:
    """The rows of one group so far."""

    group: str
    rows: int
    first_row: int
    last_row: int
    #: That of its good rows; None as long as there are none.
    format: str | None

    def take(self, row: CheckedRow) -> None:
        """Count a row in, or note what is wrong with its being here."""
        name, kind = row.line["group"], row.line["format"]
        if self.group != name:
            seen = f"group is {shown(name)}, and row {self.first_row} has it as {shown(self.group)}"
            row.wrong("group", FieldInvalid(f"{seen}. Use one spelling, because files are named after it."))
            del row.line["group"]
            return
        if not row.faults:
            self.format = self.format or kind
            if kind != self.format:
                seen = f"the row's format is {kind!r}, and the group {shown(name)} begins with {self.format!r}"
                row.wrong("format", FieldInvalid(f"{seen}. Use one format for all rows of a group."))
        self.rows += 1
        self.last_row = row.number


_GROUP_FIELDS: Final = ", ".join(f'"{field.name}"' for field in dataclasses.fields(_GroupRows))


def _fold(name: str) -> str:
    """The name as file systems that do not look at case compare it."""
    return unicodedata.normalize("NFC", name).casefold() if not name.isascii() else name.lower()
