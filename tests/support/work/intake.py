"""Files of texts for tests of the intake: made from rows or bytes, checked, and what came of it."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stentor.errors import BulkError, CloningUnsupported, VoiceUnknown
from stentor.voices.voice import Voice
from worker.bulks.intake.check import check_file
from worker.bulks.intake.report import CheckOptions, Fault, Report

VOICE = Voice(name="joe", model="joe", engine="piper", languages=("en",), sample_rate_hz=22_050)
#: Voices that tests' rows may name.
VOICES = {
    "joe": VOICE,
    "amy": dataclasses.replace(VOICE, name="amy"),
    "mine": dataclasses.replace(VOICE, name="mine", recording="rec_1"),
}


def voice_of(name: str) -> Voice:
    """A voice, or the errors that looking up a voice has."""
    if name == "clone":
        raise CloningUnsupported("Voice 'clone' is a recording, and no model here can clone voices.")
    if name not in VOICES:
        raise VoiceUnknown(f"Unknown voice {name!r}.")
    return VOICES[name]


@dataclasses.dataclass(kw_only=True)
class Checked:
    """What checking a file gave."""

    report: Report | None
    error: BulkError | None
    chunks: list[bytes]
    errors_csv: list[list[str]]
    groups: list[dict[str, Any]] | None
    progress: list[int]

    @property
    def good(self) -> Report:
        """The report of a file that was read to its end."""
        assert self.error is None, self.error
        assert self.report is not None
        return self.report

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All rows that were handed on."""
        return [json.loads(line) for chunk in self.chunks for line in gzip.decompress(chunk).splitlines()]

    @property
    def texts(self) -> list[str]:
        """The texts of all rows that were handed on."""
        return [line["text"] for line in self.lines]

    @property
    def faults(self) -> Sequence[Fault]:
        """The first faults, whether the file could be read or not."""
        return self.error.errors if self.error else self.good.errors

    @property
    def named(self) -> list[tuple[int, str, str]]:
        """Row, column and code of the first faults."""
        return [(fault.row, fault.column, fault.code) for fault in self.faults]


Check = Callable[..., Checked]


def checker(folder: Path) -> Check:
    """A function that checks content as a file; options as ``CheckOptions`` has them."""

    def check(content: bytes | str, **options: Any) -> Checked:
        path, errors, groups = folder / "source", folder / "errors.csv", folder / "groups.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return check_path(path, errors=errors, groups=groups, **options)

    return check


def check_path(path: Path, *, errors: Path, groups: Path, **options: Any) -> Checked:
    """What checking the file there gives."""
    groups.unlink(missing_ok=True)
    chunks: list[bytes] = []
    progress: list[int] = []

    def write_chunk(number: int, body: bytes) -> None:
        assert number == len(chunks)
        chunks.append(body)

    report, error = None, None
    try:
        report = check_file(
            path,
            CheckOptions(**{"default_voice": "joe", **options}),
            voices=voice_of,
            write_chunk=write_chunk,
            errors_path=errors,
            groups_path=groups,
            progress=progress.append,
        )
    except BulkError as exc:
        error = exc
    with errors.open(encoding="utf-8", newline="") as file:
        errors_csv = list(csv.reader(file, strict=True))
    assert sorted(one.name for one in errors.parent.iterdir()) == sorted(
        {path.name, errors.name, *([groups.name] if groups.exists() else [])}
    ), "something was left behind"
    found = [json.loads(line) for line in groups.read_text(encoding="utf-8").splitlines()] if groups.exists() else None
    return Checked(report=report, error=error, chunks=chunks, errors_csv=errors_csv, groups=found, progress=progress)


def written(rows: Sequence[Sequence[str]], *, delimiter: str = ",", newline: str = "\r\n", quote: bool = False) -> str:
    """Rows as ``csv.writer`` writes them, with quotes around all cells or where they are needed."""
    text = io.StringIO(newline="")
    # Python before 3.13 puts no quotes around a CR or LF that its own line end does not have.
    everywhere = quote or newline != "\r\n"
    csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=newline,
        quoting=csv.QUOTE_ALL if everywhere else csv.QUOTE_MINIMAL,
    ).writerows(rows)
    return text.getvalue()


def jsonl(*objects: Any) -> str:
    """Objects as JSON Lines."""
    return "".join(json.dumps(one) + "\n" for one in objects)
