"""Sums over all rows, for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from stentor.bulks.estimate import audio_s
from stentor.voices.voice import Voice
from worker.bulks.intake.columns import is_known
from worker.bulks.intake.encodings import Encoding
from worker.bulks.intake.report import MOST_NAMES, Report
from worker.bulks.intake.rows import CheckedRow
from worker.bulks.intake.tables import Table
from worker.bulks.intake.writing import Faults


class Sums:
    """Adds up what the rows are, good and bad."""

    def __init__(self, voice: Callable[[str], Voice]) -> None:
        """``voice`` gives the voice that a good row names."""
        self._voice = voice
        self._voices: Counter[str] = Counter()
        self._chars = 0
        self._audio_s = 0.0
        self._good = 0
        self.rows = 0
        #: Whether any row belongs to a group.
        self.groups = False

    def add(self, rows: Sequence[CheckedRow]) -> None:
        """Take rows into account whose faults are all known."""
        self.rows += len(rows)
        for row in rows:
            line = row.line
            self.groups = self.groups or "group" in line
            if row.faults:
                continue
            chars = len(line["text"])
            self._good += 1
            self._chars += chars
            self._audio_s += audio_s(chars, line["speed"])
            self._voices[line["voice"]] += 1

    def report(self, table: Table, encoding: Encoding, *, faults: Faults, chunks: int) -> Report:
        """The report on a file that was read to its end."""
        columns = tuple(table.columns)[:MOST_NAMES]
        return Report(
            rows=self.rows,
            good_rows=self._good,
            bad_rows=self.rows - self._good,
            chunks=chunks,
            chars=self._chars,
            estimated_audio_s=round(self._audio_s, 1),
            encoding=encoding.name,
            format=table.format,
            delimiter=table.delimiter,
            columns=columns,
            metadata_columns=tuple(name for name in columns if not is_known(name)),
            error_counts=dict(faults.counts),
            errors=tuple(faults.first),
            voices=dict(self._voices.most_common(MOST_NAMES)),
            recordings=_recordings(map(self._voice, self._voices)),
            groups=self.groups,
        )


def _recordings(voices: Iterable[Voice]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(voice.recording for voice in voices if voice.recording))
