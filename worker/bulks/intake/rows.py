"""One row of a file of texts: checked, and made complete with the defaults."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from stentor.errors import BulkError, FieldInvalid, RequestError, VoiceUnknown
from stentor.formats import FORMATS
from stentor.jobs.job import MAX_METADATA, MAX_METADATA_NAME_CHARS
from stentor.speech import SpeechParams
from stentor.text import clean
from stentor.voices.voice import Voice
from worker.bulks.intake import values
from worker.bulks.intake.columns import EMOTION, TEXT, name_fault
from worker.bulks.intake.names import file_name, shown
from worker.bulks.intake.report import CheckOptions, Fault
from worker.bulks.intake.tables import Fields

#: Names of voices whose answer is remembered; more are asked about each time.
VOICES_KEPT: Final = 10_000
#: Longest name that is looked up; no voice has one as long.
VOICE_CHARS: Final = 200
#: What makes a file name of a path, by format.
_NAMED: Final = {name: functools.partial(file_name, extension=one.extension) for name, one in FORMATS.items()}


@dataclasses.dataclass(slots=True)
class CheckedRow:
    """A row as a chunk has it, and what is wrong with it: without faults it can be spoken.

    ``line`` has ``row``, ``voice``, ``speed``, ``seed``, ``format`` and ``cache`` in any case; the rest as far as it is
    right.
    """

    line: dict[str, Any]
    faults: list[Fault]

    @property
    def number(self) -> int:
        """The row, counted from 1."""
        return int(self.line["row"])

    def wrong(self, column: str, error: RequestError) -> None:
        """Note a fault."""
        self.faults.append(Fault.of(error, row=self.number, column=column))


class RowChecker:
    """Checks one row after the other. Only voices are remembered between them."""

    def __init__(
        self, options: CheckOptions, voices: Callable[[str], Voice], params: type[SpeechParams] = SpeechParams
    ) -> None:
        """``voices`` gives the voice of a name, or raises a RequestError."""
        self._defaults = options.row_defaults(params)
        self._max_chars = options.max_text_chars
        self._voices = voices
        self._known: dict[str, Voice | RequestError] = {}
        self._readers: Mapping[str, Callable[[Any], Any]] = {
            **values.speech_readers(params),
            TEXT: self._text,
            "id": values.client_id,
            "voice": self._voice,
            "cache": values.cache,
            "filename": _path,
            "group": values.group,
            "pause_ms": values.pause_reader(),
        }

    def check(self, number: int, fields: Fields) -> CheckedRow:
        """The row of that number.

        Raises:
            StentorError: from ``voices``, when it is no RequestError.
        """
        row = CheckedRow({"row": number, TEXT: "", **self._defaults}, [])
        if isinstance(fields, BulkError):
            row.wrong("", fields)
        else:
            self._read(row, fields)
        if not row.line[TEXT]:
            del row.line[TEXT]
        return row

    def _read(self, row: CheckedRow, fields: Mapping[str, Any]) -> None:
        line = row.line
        metadata: dict[str, str] = {}
        for name, value in fields.items():
            read = self._readers.get(name)
            try:
                if read:
                    line[name] = read(value)
                else:
                    _gather(metadata, name, value)
            except RequestError as exc:
                row.wrong(name, exc)
        if TEXT not in fields:
            self._set(row, TEXT, self._text, "")
        if "voice" not in fields:
            self._set(row, "voice", self._voice, line["voice"])
        if "filename" in line:
            self._name(row)
        if len(metadata) > MAX_METADATA:
            seen = f"the row has {len(metadata)} entries that are kept as metadata"
            row.wrong("metadata", FieldInvalid(f"{seen}; at most {MAX_METADATA} are allowed"))
        elif metadata:
            line["metadata"] = metadata

    def _set(self, row: CheckedRow, column: str, read: Callable[[Any], Any], value: Any) -> None:
        try:
            row.line[column] = read(value)
        except RequestError as exc:
            row.wrong(column, exc)

    def _name(self, row: CheckedRow) -> None:
        """Make a safe name of the file name; what format it is to be is known only now."""
        path = row.line.pop("filename")
        if not row.faults or all(fault.column != "format" for fault in row.faults):
            self._set(row, "filename", _NAMED[row.line["format"]], path)

    def voice(self, name: str) -> Voice:
        """The voice that a good row names."""
        known = self._known.get(name)
        return known if isinstance(known, Voice) else self._voices(name)

    def _text(self, value: Any) -> str:
        return clean(values.text_of(TEXT, value), max_chars=self._max_chars)

    def _voice(self, value: Any) -> str:
        name = values.text_of("voice", value).strip()
        if len(name) > VOICE_CHARS:
            raise VoiceUnknown(f"Unknown voice {shown(name)}: names have at most {VOICE_CHARS} characters.")
        known = self._known.get(name)
        if known is None:
            try:
                known = self._voices(name)
            except RequestError as exc:
                known = exc
            if len(self._known) < VOICES_KEPT:
                self._known[name] = known
        if isinstance(known, RequestError):
            raise known.with_traceback(None)
        return name


def _path(value: Any) -> str:
    return values.text_of("filename", value)


def _gather(metadata: dict[str, str], name: str, value: Any) -> None:
    """Put what is no column of ours into the metadata."""
    if name == "metadata" and not isinstance(value, str):
        if not isinstance(value, dict):
            raise FieldInvalid(f"metadata is {shown(value)}. Write an object, or text.")
        for key, one in value.items():
            if one is not None:
                _put(metadata, key, one)
        return
    if name.startswith(EMOTION):
        raise FieldInvalid(f"{shown(name)} is {shown(value)}; no model here speaks with emotion: leave it empty")
    fault = name_fault(name)
    if fault:
        raise type(fault)(fault.detail)
    _put(metadata, name, value)


def _put(metadata: dict[str, str], name: str, value: Any) -> None:
    if bad := values.no_text(name):
        raise FieldInvalid(f"the name {shown(name)} has U+{ord(bad[0]):04X}, which no text has")
    if name in metadata:
        raise FieldInvalid(f"{shown(name)} occurs twice, once in 'metadata'. Use it once.")
    if not 1 <= len(name) <= MAX_METADATA_NAME_CHARS:
        raise FieldInvalid(f"The name {shown(name)} has {len(name)} characters. Use 1 to {MAX_METADATA_NAME_CHARS}.")
    metadata[name] = values.metadata(name, value)
