"""Checks a whole file of texts before anything of it is spoken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stentor.voice import Voice
from worker.bulks.intake.report import Options, Report


def check_file(
    path: Path,
    options: Options,
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
    every 1000 rows. Memory does not grow with the file; a scratch file beside ``errors_path`` does.

    Raises:
        BulkError: the file cannot be read, or not to its end. Its ``errors`` are what a report would have, this error
            the last of them; ``errors_path`` has it, too.
        UnavailableError: what ``voices`` raises, and so is all else that is no RequestError; trying again later helps.
    """
    raise NotImplementedError
