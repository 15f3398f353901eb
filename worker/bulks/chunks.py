"""Chunks of a bulk: their rows are read from S3, put into lanes, and written back with their outcomes."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import redis

from stentor.bulks import bulk as bulks
from stentor.bulks import manifest
from stentor.bulks.bulk import CHUNK_ROWS, Bulk
from stentor.bulks.store import BulkStore
from stentor.errors import RequestError
from stentor.jobs.job import Job, JobState
from stentor.jobs.making import make_job
from stentor.jobs.store import EVENTS_KEPT, JobStore
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_map
from stentor.redis.record import encode
from stentor.settings import Settings
from stentor.speech import SpeechParams
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from stentor.voices.voice import Voice

#: Rows that one call of Redis takes in; it does nothing else for about 3 ms.
ROWS_AT_ONCE: Final = 250
#: ChunkStore of which the rows are kept in memory, at about 1.5 MB each.
CHUNKS_KEPT: Final = 8


def size(bulk: Bulk, chunk: int) -> int:
    """How many rows a chunk has."""
    return min(CHUNK_ROWS, bulk.rows - chunk * CHUNK_ROWS)


class ChunkStore:
    """The chunks of all bulks, one step at a time. Every step may be repeated: the second changes nothing.

    Raises:
        RedisUnavailable, StorageUnavailable: from every method.
    """

    def __init__(self, client: redis.Redis, settings: Settings, storage: Storage, voices: VoiceDirectory) -> None:
        self._client = client
        self._settings = settings
        self._storage = storage
        self._voices = voices
        self._store = BulkStore(client, retention_s=settings.retention_s)
        self._jobs = JobStore(client, retention_s=settings.retention_s)
        self._open = script(client, "bulks/open_chunk")
        self._cursor = script(client, "bulks/set_cursor")
        self._outcomes = script(client, "bulks/record_outcomes")
        self._withdraw = script(client, "bulks/withdraw")
        self._reopen = script(client, "bulks/reopen_chunk")
        self._close = script(client, "bulks/close_chunk")
        self._kept: OrderedDict[tuple[str, int], list[dict[str, Any]]] = OrderedDict()

    def cursors(self, bulk_id: str) -> dict[int, int]:
        """The open chunks, in order, and how many rows of each were put into lanes."""
        with redis_errors():
            found = text_map(self._client.hgetall(keys.open_chunks(bulk_id)))
        return {int(chunk): int(cursor) for chunk, cursor in sorted(found.items(), key=lambda pair: int(pair[0]))}

    def open(self, bulk: Bulk, chunk: int) -> bool:
        """Whether rows of the chunk may enter lanes from now on; not if the bulk was paused or canceled."""
        with redis_errors():
            return bool(self._open(keys=[keys.bulk(bulk.id), keys.open_chunks(bulk.id)], args=[chunk, time.time()]))

    def reopen(self, bulk: Bulk, chunk: int) -> None:
        """Let the failed rows of a complete chunk be tried again."""
        stored = self._storage.get(bulks.results_key(bulk.id, chunk, "jsonl"))
        kept: list[str | int] = []
        for line in map(json.loads, stored.splitlines()):
            if line["state"] != JobState.FAILED:
                kept += [line["row"], json.dumps(manifest.outcome_of(line))]
        with redis_errors():
            self._reopen(
                keys=[keys.redo(bulk.id), keys.outcomes(bulk.id, chunk), keys.open_chunks(bulk.id)],
                args=[chunk, *kept],
            )

    def put_into_lanes(self, bulk: Bulk, chunk: int, cursor: int, count: int) -> tuple[int, int]:
        """The cursor after at most ``count`` rows from ``cursor`` on were put into lanes, and how many that were."""
        looked_at = self._rows(bulk.id, chunk)[cursor : cursor + ROWS_AT_ONCE]
        with redis_errors():
            done = self._client.hmget(keys.outcomes(bulk.id, chunk), [str(row["row"]) for row in looked_at])
        rows = [row for row, outcome in zip(looked_at, done, strict=True) if outcome is None][:count]
        cursor = rows[-1]["row"] - chunk * CHUNK_ROWS if len(rows) == count else cursor + len(looked_at)
        voices = self._voices.of(bulk.owner, kept=bulk.recordings)
        jobs: list[Job] = []
        faults: list[str | int] = []
        for row in rows:
            # What checking has found wrong, or that the voice is gone since.
            fault = row.get("error")
            if fault is None:
                try:
                    jobs.append(self._job(bulk, row, voices.get(row["voice"])))
                except RequestError as exc:
                    fault = {"code": exc.code, "detail": exc.detail}
            if fault is not None:
                faults += [row["row"], _fault(fault["code"], fault["detail"])]
        if faults:
            with redis_errors():
                self._outcomes(
                    keys=[keys.open_chunks(bulk.id)],
                    args=[bulk.id, chunk, time.time(), self._settings.retention_s, EVENTS_KEPT, *faults],
                )
        if jobs:
            self._jobs.submit(jobs)
        with redis_errors():
            self._cursor(keys=[keys.open_chunks(bulk.id)], args=[chunk, cursor])
        return cursor, len(rows)

    def take_out(self, bulk: Bulk, chunk: int, *, for_good: bool) -> None:
        """Take jobs of a chunk out of their lanes: those that no device holds, or all, canceled."""
        ids = [bulks.job_id(bulk.id, chunk * CHUNK_ROWS + at + 1) for at in range(size(bulk, chunk))]
        with redis_errors():
            for at in range(0, len(ids), ROWS_AT_ONCE):
                self._withdraw(
                    keys=[keys.bulk(bulk.id)],
                    args=[
                        keys.GROUP,
                        "cancel" if for_good else "pause",
                        time.time(),
                        self._settings.retention_s,
                        EVENTS_KEPT,
                        *ids[at : at + ROWS_AT_ONCE],
                    ],
                )
            # All rows are gone over again; those that are in lanes or have an outcome are passed over.
            self._cursor(keys=[keys.open_chunks(bulk.id)], args=[chunk, 0])

    def complete(self, bulk: Bulk, chunks: Sequence[int]) -> list[int]:
        """Those of the chunks of which every row has its outcome."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for chunk in chunks:
                pipe.hlen(keys.outcomes(bulk.id, chunk))
            counts = pipe.execute()
        return [chunk for chunk, count in zip(chunks, counts, strict=True) if count >= size(bulk, chunk)]

    def close(self, bulk: Bulk, chunk: int) -> None:
        """Write the chunk's part of the manifest to S3, and let go of its outcomes in Redis."""
        outcomes = self._store.outcomes(bulk.id, chunk)
        if outcomes is None:
            return
        entries = [manifest.entry(bulk, row, outcomes.get(row["row"])) for row in self._rows(bulk.id, chunk)]
        jsonl, as_csv = manifest.jsonl(entries), manifest.as_csv(entries)
        self._storage.put(bulks.results_key(bulk.id, chunk, "jsonl"), jsonl, content_type="application/jsonl")
        self._storage.put(bulks.results_key(bulk.id, chunk, "csv"), as_csv, content_type="text/csv")
        failed = sum(line["state"] == JobState.FAILED for line in entries)
        with redis_errors():
            self._close(
                keys=[
                    keys.bulk(bulk.id),
                    keys.open_chunks(bulk.id),
                    keys.outcomes(bulk.id, chunk),
                    keys.failures(bulk.id),
                ],
                args=[chunk, len(outcomes), failed],
            )
        self._kept.pop((bulk.id, chunk), None)

    def _rows(self, bulk_id: str, chunk: int) -> list[dict[str, Any]]:
        place = (bulk_id, chunk)
        if place not in self._kept:
            self._kept[place] = manifest.rows_of(self._storage, bulk_id, chunk)
        self._kept.move_to_end(place)
        while len(self._kept) > CHUNKS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[place]

    def _job(self, bulk: Bulk, row: dict[str, Any], voice: Voice) -> Job:
        return make_job(
            id=bulks.job_id(bulk.id, row["row"]),
            owner=bulk.owner,
            key_id=bulk.key_id,
            text=row["text"],
            voice=voice,
            priority=bulk.priority,
            speech=SpeechParams.pick(row, voice=voice.name),
            cache=row.get("cache", True),
            settings=self._settings,
            metadata=row.get("metadata") or {},
            created_at=bulk.created_at,
            bulk=bulk.id,
            row=row["row"],
            chunk=bulks.chunk_of(row["row"]),
        )


def _fault(code: str, detail: str) -> str:
    error = {"error_code": code, "error_detail": detail, "error_retryable": False}
    fields = {"state": JobState.FAILED, **error, "attempts": 0}
    return json.dumps({name: encode(value) for name, value in fields.items()} | {"settled_at": str(time.time())})
