"""Joins the rows of each group of a bulk into one file, in the order of the rows, with pauses between them.

The rows are gone through once. Of each group that has begun and not ended a file of samples lies on disk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stentor import log
from stentor.bulks import bulk as bulks
from stentor.bulks.audio_names import safe_part
from stentor.bulks.bulk import Bulk, BulkState, MakingState
from stentor.bulks.manifest import Results, rows_of
from stentor.bulks.store import BulkStore
from stentor.errors import AudioNotFound, GroupIncomplete, StentorError, UnavailableError
from stentor.formats import FORMATS
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.bulks import whole
from worker.bulks.fetching import fetch_ahead
from worker.finishing import audio

_log = log.get(__name__)

#: Silence after a row that does not say how much, in ms.
PAUSE_MS: Final = 300
#: Samples that are encoded at a time.
BLOCK_SAMPLES: Final = 2**18

Row = dict[str, Any]


def join(bulk_id: str, settings: Settings) -> None:
    """Join the bulk's groups, unless they are joined or no longer requested.

    Raises:
        StorageUnavailable, RedisUnavailable: one of them does not answer; try again later, what is joined is kept.
        LockTaken: another process joins them; look again later, for that process may die.
    """
    whole.make(
        bulk_id,
        settings,
        work="groups",
        making=MakingState.JOINING,
        wanted=lambda bulk: bulk.groups and bulk.state == BulkState.SUCCEEDED,
        act=lambda bulk, store, check: _join(bulk, store, Storage(settings), check),
    )


def _join(bulk: Bulk, store: BulkStore, storage: Storage, check: Callable[[], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="stentor-groups-") as folder:
        report = Path(folder, "joined.jsonl")
        _Joiner(bulk, Results(store, storage), storage, Path(folder)).run(report, check)
        with report.open("rb") as file:
            storage.put_stream(bulks.joined_key(bulk.id), file, content_type="application/jsonl")
    return {}


def group_file(group: str, audio_format: str) -> str:
    """The name of a group's file. Groups whose names have signs that no file has are distinguished by a hash."""
    safe = safe_part(group)
    if safe != group:
        safe = f"{safe}-{hashlib.sha256(group.encode()).hexdigest()[:12]}"
    return f"{safe}.{FORMATS[audio_format].extension}"


@dataclasses.dataclass(kw_only=True)
class _GroupFile:
    """A group of which some rows have come and some have not."""

    name: str
    rows: int
    format: str
    key: str
    samples: Path
    seen: int = 0
    rate_hz: int = 0
    #: Silence that the last row wants after it, in ms; none is made after the last one of all.
    pause_ms: int = 0
    length: int = 0
    error: StentorError | None = None
    #: What an earlier run has made of it.
    known: Mapping[str, str] | None = None


class _Joiner:
    def __init__(self, bulk: Bulk, results: Results, storage: Storage, folder: Path) -> None:
        self._bulk = bulk
        self._results = results
        self._storage = storage
        self._folder = folder
        self._index = self._descriptions()
        self._open: dict[str, _GroupFile] = {}
        self._made = 0
        #: Whether an earlier run may have joined some.
        self._again = bulk.retries > 0 or bulk.groups_state == MakingState.JOINING

    def run(self, report: Path, check: Callable[[], None]) -> int:
        """Join all groups and write what came of each into ``report``; how many there were."""
        rows = fetch_ahead(self._storage, self._rows(), _audio_key, lambda item: item[1].get("audio_bytes") or 0)
        with report.open("w", encoding="utf-8") as lines:
            for (group, row), body in rows:
                check()
                group.seen += 1
                if group.known is None:
                    self._take(group, row, body)
                if group.seen == group.rows:
                    del self._open[group.name]
                    lines.write(json.dumps(self._end(group), ensure_ascii=False) + "\n")
        return self._made

    def _descriptions(self) -> Iterator[dict[str, Any]]:
        """The groups as checking found them, in the order of their first rows."""
        left = b""
        for piece in self._storage.stream(bulks.groups_key(self._bulk.id)):
            *whole, left = (left + piece).split(b"\n")
            yield from map(json.loads, filter(None, whole))
        if left.strip():
            yield json.loads(left)

    def _rows(self) -> Iterator[tuple[_GroupFile, Row]]:
        """The rows that are in a group: their lines of the manifest, with their pauses."""
        for chunk in range(self._bulk.chunks):
            asked = rows_of(self._storage, self._bulk.id, chunk)
            if not any(row.get("group") for row in asked):
                continue
            for row, line in zip(asked, self._results.chunk(self._bulk, chunk), strict=True):
                if row.get("group"):
                    group = self._open.get(row["group"]) or self._begin(row["group"])
                    yield group, {**line, "pause_ms": row.get("pause_ms", PAUSE_MS)}

    def _begin(self, name: str) -> _GroupFile:
        described = next(one for one in self._index if self._open_group(one)["group"] == name)
        return self._open[described["group"]]

    def _open_group(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """The description, whose group is open from now on."""
        name, form = described["group"], described["format"]
        key = bulks.group_key(self._bulk.id, group_file(name, form))
        self._made += 1
        self._open[name] = _GroupFile(
            name=name,
            rows=described["rows"],
            format=form,
            key=key,
            samples=self._folder / f"{self._made}.s16",
            known=self._storage.facts(key) if self._again else None,
        )
        return described

    def _take(self, group: _GroupFile, row: Row, body: bytes | None) -> None:
        """Append a row's samples to those of its group."""
        if group.error is not None:
            return
        try:
            samples, rate_hz = _samples(row, body)
        except StentorError as exc:
            group.error = exc
            group.samples.unlink(missing_ok=True)
            return
        group.rate_hz = group.rate_hz or rate_hz
        if rate_hz != group.rate_hz:
            samples = soxr.resample(samples, rate_hz, group.rate_hz, "VHQ")
        # Appended to and closed: many groups may be open at a time.
        with group.samples.open("ab") as file:
            silence = np.zeros(round(group.pause_ms * group.rate_hz / 1000), np.int16)
            for part in (silence, audio.sixteen_bits(samples)):
                file.write(part.tobytes())
                group.length += len(part)
        group.pause_ms = row["pause_ms"]

    def _end(self, group: _GroupFile) -> dict[str, Any]:
        """Write the group's file to S3, and return its line in the list of groups."""
        line: dict[str, Any] = {"group": group.name, "rows": group.rows}
        if group.known is not None:
            return line | {"state": BulkState.SUCCEEDED, "key": group.key, **_numbers(group.known)}
        try:
            if group.error is not None:
                raise group.error
            facts = self._encode(group)
        except UnavailableError:
            raise
        except StentorError as exc:
            return line | {"state": BulkState.FAILED, "error_code": exc.code, "error_detail": exc.detail}
        return line | {"state": BulkState.SUCCEEDED, "key": group.key, **_numbers(facts)}

    def _encode(self, group: _GroupFile) -> dict[str, str]:
        path = group.samples.with_suffix(f".{group.format}")
        with group.samples.open("rb") as source:
            audio.write_file(
                path, _blocks(source), samples=group.length, sample_rate_hz=group.rate_hz, format=group.format
            )
        group.samples.unlink()
        with path.open("rb") as file:
            facts = {
                "audio_s": f"{group.length / group.rate_hz:.4f}",
                "audio_bytes": str(path.stat().st_size),
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
            file.seek(0)
            self._storage.put_stream(group.key, file, content_type=FORMATS[group.format].content_type, facts=facts)
        path.unlink()
        return facts


def _audio_key(item: tuple[_GroupFile, Row]) -> str | None:
    """Where the row's audio lies, if it is needed."""
    group, row = item
    return row.get("audio_key") if group.known is None else None


def _numbers(facts: Mapping[str, str]) -> dict[str, Any]:
    """What is kept with a group's object in S3, as numbers."""
    return {
        "audio_s": float(facts["audio_s"]),
        "audio_bytes": int(facts["audio_bytes"]),
        "sha256": facts["sha256"],
    }


def _samples(row: Row, body: bytes | None) -> tuple[NDArray[np.float32], int]:
    """The samples of a row (float32, shape (samples,), -1..1, mono) and their rate in Hz.

    Raises:
        GroupIncomplete: the row has no audio.
        AudioNotFound: its object is gone, or is no audio.
    """
    if row["state"] != BulkState.SUCCEEDED:
        why = f": {row['error_code']}: {row['error_detail']}" if row.get("error_code") else ""
        raise GroupIncomplete(f"row {row['row']} {row['state']}{why}")
    if body is None:
        raise AudioNotFound(f"the audio of row {row['row']} is gone from the storage")
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(body), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as exc:
        raise AudioNotFound(f"the audio of row {row['row']} cannot be decoded: {exc}") from exc
    return np.ascontiguousarray(samples[:, 0]), rate_hz


def _blocks(source: IO[bytes]) -> Iterator[NDArray[np.int16]]:
    while block := source.read(2 * BLOCK_SAMPLES):
        yield np.frombuffer(block, np.int16)
