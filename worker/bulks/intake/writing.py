"""What checking leaves behind: chunks of checked rows, and the faults as CSV."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from stentor.bulks.spreadsheet import safe_cell
from worker.bulks.intake.report import FIRST_ERRORS, Fault
from worker.bulks.intake.rows import CheckedRow

#: Faults that the CSV names at most; beyond it they are only counted.
MOST_FAULTS: Final = 100_000
COLUMNS: Final = ("row", "column", "code", "detail")

_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Faults:
    """All faults: the first are kept, most are written, all are counted. A context: the file ends with it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self.first: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, *faults: Fault) -> None:
        """Take note of faults."""
        for fault in faults:
            self.counts[fault.code] += 1
            if len(self.first) < FIRST_ERRORS:
                self.first.append(fault)
            if self._written < MOST_FAULTS:
                self._written += 1
                self._writer.writerow((fault.row, safe_cell(fault.column), fault.code, safe_cell(fault.detail)))


class ChunkWriter:
    """Hands on checked rows, a chunk at a time."""

    def __init__(self, write_chunk: Callable[[int, bytes], object]) -> None:
        self._write = write_chunk
        self.written = 0

    def write(self, rows: Sequence[CheckedRow]) -> None:
        """Hand on a chunk; the same rows are the same bytes."""
        lines = "\n".join(_json(_line(row)) for row in rows) + "\n"
        self._write(self.written, gzip.compress(lines.encode(), compresslevel=1, mtime=0))
        self.written += 1


def _line(row: CheckedRow) -> dict[str, Any]:
    if not row.faults:
        return row.line
    return {**row.line, "error": {"code": row.faults[0].code, "detail": row.faults[0].detail}}
