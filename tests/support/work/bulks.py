"""Bulks for tests: what checking and feeding leave in Redis and S3, through the scripts that they use."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import CHUNK_ROWS, Bulk, new_id
from stentor.bulks.store import BulkStore
from stentor.jobs.store import EVENTS_KEPT
from stentor.redis import keys
from stentor.redis.client import script
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from tests.support.speech.factories import TONE
from worker.bulks.chunks import ChunkStore

Row = Mapping[str, Any]


class BulkBench:
    """A bulk whose rows are checked, opened, settled and closed by hand."""

    def __init__(self, client: redis.Redis, settings: Settings, storage: Storage) -> None:
        self.client = client
        self.settings = settings
        self.storage = storage
        self.store = BulkStore(client, retention_s=settings.retention_s)
        self.chunks = ChunkStore(client, settings, storage, VoiceDirectory(client))
        self._outcomes = script(client, "bulks/record_outcomes")

    def taken(self, rows: Sequence[Row], *, groups: Sequence[Row] = (), **fields: Any) -> Bulk:
        """A bulk whose file was checked and taken; rows say what differs from the usual."""
        bulk = self.store.create(Bulk(**{"id": new_id(), "owner": "acme", "name": "texts.csv", **fields}))
        return self.accepted(bulk, rows, groups=groups)

    def accepted(self, bulk: Bulk, rows: Sequence[Row], *, groups: Sequence[Row] = ()) -> Bulk:
        """The bulk, with these rows."""
        lines = [_row(at, row) for at, row in enumerate(rows, start=1)]
        for at in range(0, len(lines), CHUNK_ROWS):
            body = gzip.compress("".join(json.dumps(line) + "\n" for line in lines[at : at + CHUNK_ROWS]).encode())
            self.storage.put(bulks.rows_key(bulk.id, at // CHUNK_ROWS), body, content_type="application/gzip")
        self.storage.put(bulks.errors_key(bulk.id), b"row,column,code,detail\r\n", content_type="text/csv")
        if groups:
            described = "".join(json.dumps(group) + "\n" for group in groups).encode()
            self.storage.put(bulks.groups_key(bulk.id), described, content_type="application/jsonl")
        chars = sum(len(line["text"]) for line in lines)
        report = {"encoding": "utf-8", "estimated_audio_s": chars / 15, "errors": [], "error_counts": {}}
        found = {"rows": len(rows), "chunks": -(-len(rows) // CHUNK_ROWS), "chars": chars, "report": report}
        assert self.store.accept(bulk.id, {**found, "groups": bool(groups)})
        return self.now(bulk)

    def now(self, bulk: Bulk) -> Bulk:
        """The bulk as it is now."""
        found = self.store.find(bulk.id)
        assert found is not None
        return found

    def settle(self, bulk: Bulk, outcomes: Mapping[int, Mapping[str, str]], *, close: bool = True) -> Bulk:
        """The bulk after these rows have these outcomes; ``close`` brings complete chunks to S3."""
        for chunk in sorted({bulks.chunk_of(row) for row in outcomes}):
            self.chunks.open(bulk, chunk)
            mine = {row: one for row, one in outcomes.items() if bulks.chunk_of(row) == chunk}
            pairs = [part for row, one in mine.items() for part in (str(row), json.dumps(dict(one)))]
            self._outcomes(
                keys=[keys.open_chunks(bulk.id)],
                args=[bulk.id, chunk, time.time(), self.settings.retention_s, EVENTS_KEPT, *pairs],
            )
            if close:
                for complete in self.chunks.complete(self.now(bulk), [chunk]):
                    self.chunks.close(self.now(bulk), complete)
        return self.now(bulk)

    def spoken(self, bulk: Bulk, row: int, body: bytes, *, extension: str = "wav") -> dict[str, str]:
        """The outcome of a row whose audio is ``body``, which lies in S3 now."""
        key = f"audio/2026/01/01/{bulks.job_id(bulk.id, row)}.{extension}"
        self.storage.put(key, body, content_type="audio/wav")
        return succeeded(audio_key=key, audio_bytes=len(body))

    def key_of(self, bulk: Bulk, row: int) -> str:
        """Where ``spoken`` puts the audio of a row."""
        return f"audio/2026/01/01/{bulks.job_id(bulk.id, row)}.wav"


def _row(number: int, row: Row) -> dict[str, Any]:
    usual = {"text": f"This is text number {number}.", "voice": TONE, "speed": 1.0, "seed": 0, "format": "wav"}
    return {"row": number, **usual, "cache": True, **row}


def succeeded(**fields: Any) -> dict[str, str]:
    """An outcome as a job's hash has it."""
    usual = {"audio_key": "audio/x.wav", "audio_s": 1.5, "audio_bytes": 8, "sha256": "ab" * 32, "attempts": 1}
    values = {**usual, "device": "testhost/cpu", "settled_at": 1_790_000_000.25, **fields}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {"state": "succeeded", **texts}


def failed(code: str = "engine_failed", detail: str = "this text is poison") -> dict[str, str]:
    """An outcome of a row that failed."""
    return {"state": "failed", "error_code": code, "error_detail": detail, "attempts": "1", "settled_at": "1790000000"}


def all_succeeded(rows: Iterable[int]) -> dict[int, dict[str, str]]:
    """The same outcome for all of them."""
    return {row: succeeded() for row in rows}
