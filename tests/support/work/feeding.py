"""Bulks for tests: put into Redis and S3 as checking a file does, without a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import CHUNK_ROWS, Bulk
from stentor.bulks.manifest import Results
from stentor.bulks.store import BulkStore
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.speech.factories import TONE


def a_row(row: int, text: str, **fields: Any) -> dict[str, Any]:
    """A checked row."""
    return {"row": row, "text": text, "voice": TONE, "speed": 1.0, "seed": 0, "format": "wav", "cache": True, **fields}


class Bulks:
    """The bulks of one owner."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.store = BulkStore(client, retention_s=settings.retention_s)
        self.storage = Storage(settings)
        self.results = Results(self.store, self.storage)

    def accepted(self, rows: Sequence[Mapping[str, Any]], **fields: Any) -> Bulk:
        """A bulk of these rows that waits for its turn."""
        bulk = self.store.create(Bulk(**{"id": bulks.new_id(), "owner": "acme", **fields}))
        for chunk in range(-(-len(rows) // CHUNK_ROWS)):
            part = rows[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS]
            body = gzip.compress("".join(json.dumps(row) + "\n" for row in part).encode(), 1)
            self.storage.put(bulks.rows_key(bulk.id, chunk), body, content_type="application/gzip")
        found = {
            "rows": len(rows),
            "chunks": -(-len(rows) // CHUNK_ROWS),
            "chars": sum(len(row.get("text", "")) for row in rows),
        }
        assert self.store.accept(bulk.id, found)
        return self.now(bulk)

    def of_texts(self, *texts: str, **fields: Any) -> Bulk:
        """A bulk of these texts."""
        return self.accepted([a_row(at + 1, text) for at, text in enumerate(texts)], **fields)

    def now(self, bulk: Bulk) -> Bulk:
        found = self.store.find(bulk.id)
        assert found is not None
        return found

    def move(self, bulk: Bulk, wish: str) -> Bulk:
        return self.store.move(bulk.id, bulk.owner, wish)

    def manifest(self, bulk: Bulk) -> list[dict[str, Any]]:
        """All lines of the manifest."""
        body = b"".join(self.results.pieces(self.now(bulk), "jsonl"))
        return [json.loads(line) for line in body.splitlines()]
