"""What has to be seen across all rows: names that are there twice, and groups. It is kept in a file, not in memory."""

from __future__ import annotations

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
            "CREATE TABLE groups (key TEXT PRIMARY KEY, name TEXT, format TEXT, rows INTEGER, first_row INTEGER, "
            "last_row INTEGER) WITHOUT ROWID"
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
        self._firsts("filename", "filenames", rows, _folded, FilenameDuplicate)
        grouped = [row for row in rows if "group" in row.line]
        if grouped:
            self._group(grouped)

    def _firsts(
        self, column: str, table: str, rows: Sequence[CheckedRow], key: Callable[[str], str], error: type[BulkError]
    ) -> None:
        keyed = [(key(row.line[column]), row.number) for row in rows if column in row.line]
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
                row.wrong(
                    column, error(f"row {first} has the {column} {shown(name)} already{case}; each once is wanted")
                )
                del row.line[column]

    def _group(self, rows: Sequence[CheckedRow]) -> None:
        groups: dict[str, list[str | int]] = {}
        for row in rows:
            name, kind = row.line["group"], row.line["format"]
            key = _folded(name)
            group = groups.get(key) or self._known(key)
            if group is None:
                group = [name, kind, 0, row.number, row.number]
            groups[key] = group
            if group[0] != name:
                seen = f"group is {shown(name)}, and row {group[3]} has it as {shown(group[0])}"
                row.wrong("group", FieldInvalid(f"{seen}; one spelling is wanted, as files are called so"))
            elif group[1] != kind:
                seen = f"the row's format is {kind!r}, and that of row {group[3]} of the same group is {group[1]!r}"
                row.wrong("format", FieldInvalid(f"{seen}; one for all of a group is wanted"))
            if not row.faults:
                group[2], group[4] = int(group[2]) + 1, row.number
        self._db.executemany(
            "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?, ?)", [(key, *group) for key, group in groups.items()]
        )

    def _known(self, key: str) -> list[str | int] | None:
        found = self._db.execute("SELECT name, format, rows, first_row, last_row FROM groups WHERE key = ?", (key,))
        row = found.fetchone()
        return list(row) if row else None

    def groups(self) -> Iterator[str]:
        """A line of JSON for each group that has good rows, in the order of their first rows."""
        names = ("group", "rows", "first_row", "last_row", "format")
        for values in self._db.execute(
            "SELECT name, rows, first_row, last_row, format FROM groups WHERE rows > 0 ORDER BY first_row"
        ):
            yield json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n"


def _folded(name: str) -> str:
    """The name as file systems that do not look at case compare it."""
    return unicodedata.normalize("NFC", name).casefold() if not name.isascii() else name.lower()
