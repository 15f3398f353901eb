"""The manifest of a bulk: one line per row, what was asked and what became of it; how its parts in S3 are read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import CHUNK_ROWS, Bulk, BulkState
from stentor.bulks.spreadsheet import safe_cell
from stentor.bulks.store import BulkStore
from stentor.errors import AudioNotFound
from stentor.jobs.job import Job, JobState
from stentor.jobs.records import read_job
from stentor.redis.record import encode
from stentor.speech import SpeechParams, added_defaults, params_of
from stentor.storage.s3 import Storage


def speech_columns(params: type[SpeechParams] = SpeechParams) -> tuple[str, ...]:
    """The speech parameters that a manifest shows: some of the first release's, and all that were added since."""
    return ("seed", "voice", "format", *added_defaults(params))


#: Columns of the manifest, in order.
COLUMNS: Final = (
    "row",
    "id",
    "state",
    "audio_key",
    "audio_url",
    "audio_s",
    "audio_bytes",
    "sha256",
    "error_code",
    "error_detail",
    "settled_at",
    "device",
    "attempts",
    "cached",
    "quality",
    *speech_columns(),
    "filename",
    "group",
    "job_id",
    "metadata",
)


#: What rows say of speech that were checked before a field was added.
_DEFAULTS: Final = {param.name: param.default for param in params_of()}


def rows_of(storage: Storage, bulk_id: str, chunk: int) -> list[dict[str, Any]]:
    """The checked rows of a chunk, in order.

    Raises:
        AudioNotFound: there is no such chunk.
        StorageUnavailable: S3 does not answer.
    """
    lines = gzip.decompress(storage.get(bulks.rows_key(bulk_id, chunk))).splitlines()
    return [json.loads(line) for line in lines]


def entry(bulk: Bulk, row: Mapping[str, Any], outcome: Mapping[str, str] | None) -> dict[str, Any]:
    """The line of one row. Without an outcome it is queued, or canceled with its bulk."""
    job_id = bulks.job_id(bulk.id, row["row"])
    known = outcome or {"state": BulkState.CANCELED if bulk.state == BulkState.CANCELED else JobState.QUEUED}
    settled_at = known.get("settled_at")
    return {
        "row": row["row"],
        "id": row.get("id") or job_id,
        "state": known["state"],
        "audio_key": known.get("audio_key"),
        "audio_url": f"/v1/jobs/{job_id}/audio" if "audio_key" in known else None,
        "audio_s": float(known["audio_s"]) if "audio_s" in known else None,
        "audio_bytes": int(known["audio_bytes"]) if "audio_bytes" in known else None,
        "sha256": known.get("sha256"),
        "error_code": known.get("error_code"),
        "error_detail": known.get("error_detail"),
        "settled_at": _time(float(settled_at)) if settled_at else None,
        "device": known.get("device"),
        "attempts": int(known.get("attempts", 0)),
        "cached": known.get("cached") == "true",
        "quality": json.loads(known["quality"]) if "quality" in known else None,
        **{name: row.get(name, _DEFAULTS.get(name)) for name in speech_columns()},
        "filename": row.get("filename"),
        "group": row.get("group"),
        "job_id": job_id,
        "metadata": row.get("metadata") or {},
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def outcome_of(line: Mapping[str, Any]) -> dict[str, str]:
    """The outcome in a line, as fields of a job's hash."""
    texts = {name: line[name] for name in ("state", "audio_key", "sha256", "device") if line.get(name) is not None}
    names = ("audio_s", "audio_bytes", "attempts", "cached", "quality")
    values = {name: json.dumps(line[name]) for name in names if line.get(name) is not None}
    # A row that was canceled with its bulk before it was in a lane has none.
    times = {name: str(datetime.fromisoformat(line[name]).timestamp()) for name in ("settled_at",) if line.get(name)}
    return texts | values | times


def job_of(bulk: Bulk, row: Mapping[str, Any], outcome: Mapping[str, str] | None) -> Job:
    """The job of a row that is in no lane: it has its outcome, or was never there."""
    job = read_job({**_request_of(bulk, row), **(outcome or {})})
    return (
        job
        if outcome or bulk.state != BulkState.CANCELED
        else read_job({**_request_of(bulk, row), "state": BulkState.CANCELED})
    )


def _request_of(bulk: Bulk, row: Mapping[str, Any]) -> dict[str, str]:
    """What the row asked for, as a job's hash has it."""
    fields: dict[str, Any] = {
        "created_at": bulk.created_at,
        "metadata": row.get("metadata") or {},
        "row": row["row"],
    }
    texts = {
        "id": bulks.job_id(bulk.id, row["row"]),
        "owner": bulk.owner,
        "text": row.get("text") or "",
        "speech": encode(SpeechParams.pick(row)),
        "model": "",
        "lane": "",
        "priority": bulk.priority,
        "bulk": bulk.id,
    }
    return texts | {name: json.dumps(value) for name, value in fields.items() if value is not None}


def jsonl(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Lines of the manifest as JSON Lines, absent values left out."""
    return "".join(
        json.dumps(
            {name: value for name, value in one.items() if value is not None}, ensure_ascii=False, separators=(",", ":")
        )
        + "\n"
        for one in entries
    ).encode()


def as_csv(entries: Sequence[Mapping[str, Any]], *, header: bool = False) -> bytes:
    """Lines of the manifest as CSV (RFC 4180), safe to open in a spreadsheet; what is no text or number is JSON."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(COLUMNS)
    for one in entries:
        writer.writerow([_cell(one[name]) for name in COLUMNS])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or value == {}:
        return ""
    if isinstance(value, str):
        return safe_cell(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | bool) else value


class Results:
    """Reads what became of a bulk's rows: from Redis while a chunk is open, else from S3.

    Raises:
        RedisUnavailable, StorageUnavailable: from every method.
    """

    def __init__(self, bulk_store: BulkStore, storage: Storage) -> None:
        self._store = bulk_store
        self._storage = storage

    def chunk(self, bulk: Bulk, chunk: int) -> list[dict[str, Any]]:
        """The lines of a chunk, in order."""
        live = self._store.outcomes(bulk.id, chunk)
        stored = self._load_piece(bulk, chunk, "jsonl") if live is None else None
        return [json.loads(line) for line in stored.splitlines()] if stored else self._live(bulk, chunk, live or {})

    def pieces(self, bulk: Bulk, kind: str) -> Iterator[bytes]:
        """The whole manifest, ``kind`` ``jsonl`` or ``csv``, piece by piece; complete also while the bulk runs."""
        if kind == "csv":
            yield as_csv([], header=True)
        for chunk in range(bulk.chunks):
            live = self._store.outcomes(bulk.id, chunk)
            stored = self._load_piece(bulk, chunk, kind) if live is None else None
            if stored is None:
                entries = self._live(bulk, chunk, live or {})
                stored = jsonl(entries) if kind == "jsonl" else as_csv(entries)
            yield stored

    def row(self, bulk: Bulk, row: int) -> Job | None:
        """The job of a row that is in no lane; None if there is no such row."""
        if not 1 <= row <= bulk.rows:
            return None
        chunk, at = bulks.chunk_of(row), (row - 1) % CHUNK_ROWS
        asked = rows_of(self._storage, bulk.id, chunk)[at]
        live = self._store.outcomes(bulk.id, chunk)
        stored = self._load_piece(bulk, chunk, "jsonl") if live is None else None
        if stored:
            return _job_of_line(bulk, asked, json.loads(stored.splitlines()[at]))
        return job_of(bulk, asked, (live or {}).get(row))

    def _load_piece(self, bulk: Bulk, chunk: int, kind: str) -> bytes | None:
        """A piece of the manifest that is in S3; None if no row of the chunk has entered a lane."""
        if chunk >= bulk.next_chunk:
            return None
        try:
            return self._storage.get(bulks.results_key(bulk.id, chunk, kind))
        except AudioNotFound:
            return None

    def _live(self, bulk: Bulk, chunk: int, outcomes: Mapping[int, Mapping[str, str]]) -> list[dict[str, Any]]:
        rows = rows_of(self._storage, bulk.id, chunk)
        return [entry(bulk, row, outcomes.get(row["row"])) for row in rows]


def with_addresses(pieces: Iterable[bytes], bulk: Bulk, kind: str, base_url: str) -> Iterator[bytes]:
    """The manifest's pieces with whole URLs: in S3 they have paths only, for the service may move."""
    path = bulks.job_id(bulk.id, 0).removesuffix("0")
    before = b'"audio_url":"' if kind == "jsonl" else b","
    old = before + f"/v1/jobs/{path}".encode()
    new = before + f"{base_url.rstrip('/')}/v1/jobs/{path}".encode()
    return (piece.replace(old, new) for piece in pieces)


def _job_of_line(bulk: Bulk, row: Mapping[str, Any], line: Mapping[str, Any]) -> Job:
    """The job of a row whose outcome is only in the manifest."""
    error = {name: line[name] for name in ("error_code", "error_detail") if name in line}
    return job_of(bulk, row, outcome_of(line) | error)
