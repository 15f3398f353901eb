"""Checks a whole file of texts before anything of it is spoken."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stentor.bulks.bulk import CHUNK_ROWS
from stentor.errors import BulkError, FileEmpty, TooManyRows
from stentor.voices.voice import Voice
from worker.bulks.intake.encodings import Place, detect, lines
from worker.bulks.intake.report import FIRST_ERRORS, SKIP, CheckOptions, Fault, Report
from worker.bulks.intake.rows import CheckedRow, RowChecker
from worker.bulks.intake.sources import blocks, sample
from worker.bulks.intake.sums import Sums
from worker.bulks.intake.tables import HeaderRefused, Table, open_table
from worker.bulks.intake.uniqueness import Across
from worker.bulks.intake.writing import ChunkWriter, Faults

#: Characters that one row may have, and how many of the longest texts besides. A text that is too long is a fault of
#: its row; a row that does not end is a fault of the file.
ROW_CHARS, ROW_TEXTS = 2**20, 4


def check_file(
    path: Path,
    options: CheckOptions,
    *,
    voices: Callable[[str], Voice],
    write_chunk: Callable[[int, bytes], object],
    errors_path: Path,
    groups_path: Path,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """The report on a file of texts: CSV, TSV or JSON Lines, plain or gzip. Every row is looked at.

    ``voices`` gives the voice of a name (``OwnersVoices.get``); it is asked about once for each name. ``write_chunk``
    gets the numbers of chunks, in order from 0 on, and their rows as gzip JSON Lines: no more of them after the first
    fault if the options say ``reject``. ``errors_path`` is always written: all faults as CSV, or only its header.
    ``groups_path`` is written if the report says ``groups``: JSON Lines. ``progress`` gets the number of rows so far,
    every 1000 rows. Memory does not grow with the file; a scratch file next to ``errors_path`` does.

    Raises:
        BulkError: the file cannot be read, or not to its end. Its ``errors`` are Faults as a report has them, its own
            the last; ``errors_path`` has it, too.
        UnavailableError: what ``voices`` raises, and so is all else that is no RequestError; trying again later helps.
    """
    place = Place(max_chars=ROW_CHARS + ROW_TEXTS * options.max_text_chars)
    checker = RowChecker(options, voices)
    sums, chunks = Sums(checker.voice), ChunkWriter(write_chunk)
    with (
        Faults(errors_path) as faults,
        tempfile.TemporaryDirectory(dir=errors_path.parent) as scratch,
        Across(Path(scratch) / "across.sqlite") as across,
    ):
        try:
            first, whole, stream = sample(blocks(path, max_bytes=options.max_bytes))
            encoding = detect(first, whole=whole)
            table = open_table(lines(stream, encoding, place), place)
            for rows in _check_rows(table, place, checker, max_rows=options.max_rows):
                across.compare(rows)
                sums.add(rows)
                faults.add(*(fault for row in rows for fault in row.faults))
                if options.on_error == SKIP or not faults.counts:
                    chunks.write(rows)
                if progress:
                    progress(sums.rows)
        except HeaderRefused as exc:
            raise _refusal(
                [Fault.of(error, row=0, column=name) for name, error in exc.faults], exc.faults[0][1], faults
            ) from exc
        except BulkError as exc:
            row = 0 if isinstance(exc, FileEmpty) else place.row
            raise _refusal([Fault.of(exc, row=row)], exc, faults) from exc.__cause__
        if sums.groups:
            with groups_path.open("w", encoding="utf-8") as file:
                file.writelines(across.groups())
    return sums.report(table, encoding, faults=faults, chunks=chunks.written)


def _check_rows(table: Table, place: Place, checker: RowChecker, *, max_rows: int) -> Iterator[list[CheckedRow]]:
    """Checked rows, a chunk of them at a time. Those before an error come before it.

    Raises:
        FileEmpty: there are none.
        TooManyRows: more than ``max_rows``.
        BulkError: from reading.
    """
    rows: list[CheckedRow] = []
    try:
        for fields in table.rows:
            if place.row > max_rows:
                raise TooManyRows(f"The file has more than {max_rows} rows, the maximum.")
            rows.append(checker.check(place.row, fields))
            if len(rows) == CHUNK_ROWS:
                yield rows
                rows = []
        if place.row == 1:
            raise FileEmpty("The file has a header and no rows. Add at least one row.")
    except BulkError:
        if rows:
            yield rows
        raise
    if rows:
        yield rows


def _refusal(found: Sequence[Fault], error: BulkError, faults: Faults) -> BulkError:
    """The error of a file that cannot be read, with all that was found."""
    faults.add(*found)
    error.row, error.column = found[0].row, found[0].column
    error.errors = tuple(faults.first if found[0] in faults.first else [*faults.first[: FIRST_ERRORS - 1], *found])
    return error
