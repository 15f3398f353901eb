"""The bulk store: bulks as clients and io workers see them. The feeder's part is in ``worker/bulks``."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import redis

from stentor.bulks.bulk import Bulk, BulkState
from stentor.errors import BulkNotFound, BulkStateConflict, StentorError
from stentor.jobs.store import EVENTS_KEPT
from stentor.redis import keys
from stentor.redis.client import call_replicated, redis_errors, script, text_list, text_map
from stentor.redis.record import encode, from_fields, to_items

#: What clients may ask of a bulk, and when.
WISHES: Final[Mapping[str, str]] = {
    "pause": "only a bulk that waits or runs can be paused",
    "resume": "only a paused bulk can be resumed",
    "cancel": "only a bulk that has not ended can be canceled",
    "retry": "only a bulk that has succeeded and has failed rows can be tried again",
}
#: Fields of a bulk that tell where it stands.
GLANCED_AT: Final = tuple(field.name for field in dataclasses.fields(Bulk) if field.name != "report")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BulkPage:
    """Part of a list of bulks, newest first; ``next_cursor`` asks for what follows, None if nothing does."""

    bulks: list[Bulk]
    next_cursor: str | None


class BulkStore:
    """Bulks in Redis. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, retention_s: int, replicas: int = 0) -> None:
        """With ``replicas``, that many must have a bulk before it counts as stored."""
        self._client = client
        self._retention_s = retention_s
        self._replicas = replicas
        self._create = script(client, "bulks/create")
        self._move = script(client, "bulks/move")
        self._checked = script(client, "bulks/end_check")

    def create(self, bulk: Bulk) -> Bulk:
        """Put a bulk down whose file lies in S3; one of this id that is there already stays as it is."""
        new = call_replicated(
            self._create,
            self._replicas,
            keys=[keys.bulk(bulk.id), keys.bulks(bulk.owner), keys.ACTIVE_BULKS],
            args=[bulk.id, *to_items(bulk)],
        )
        return bulk if new else self.find(bulk.id) or bulk

    def glance(self, bulk_id: str) -> Bulk | None:
        """The bulk as it is now, without the report on its file, which may be long; None if there is none."""
        with redis_errors():
            values = self._client.hmget(keys.bulk(bulk_id), list(GLANCED_AT))
        fields = {name: str(value) for name, value in zip(GLANCED_AT, values, strict=True) if value is not None}
        return from_fields(Bulk, fields) if "owner" in fields else None

    def find(self, bulk_id: str) -> Bulk | None:
        """The bulk of any owner as it is now; None if it does not exist."""
        with redis_errors():
            fields = text_map(self._client.hgetall(keys.bulk(bulk_id)))
        return from_fields(Bulk, fields) if "owner" in fields else None

    def get(self, bulk_id: str, owner: str) -> Bulk:
        """The owner's bulk as it is now.

        Raises:
            BulkNotFound: this owner has no bulk of this id.
        """
        bulk = self.find(bulk_id)
        if bulk is None or bulk.owner != owner:
            raise BulkNotFound(f"there is no bulk {bulk_id!r}")
        return bulk

    def list(self, owner: str, *, states: Iterable[str] = BulkState, limit: int, after: str | None = None) -> BulkPage:
        """The owner's bulks in these states, newest first, from the one that follows ``after`` on."""
        wanted = frozenset(states)
        index = keys.bulks(owner)
        found: list[Bulk] = []
        more = True
        with redis_errors():
            while more and len(found) <= limit:
                ids = text_list(self._client.zrevrangebylex(index, f"({after}" if after else "+", "-", 0, limit + 1))
                more, after = len(ids) > limit, ids[-1] if ids else after
                found += [bulk for bulk in self._load(index, ids) if bulk.state in wanted]
        return BulkPage(bulks=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)

    def _load(self, index: str, ids: Sequence[str]) -> Iterable[Bulk]:
        """The bulks of these ids; an id whose bulk has expired leaves the index."""
        pipe = self._client.pipeline(transaction=False)
        for bulk_id in ids:
            pipe.hgetall(keys.bulk(bulk_id))
        hashes = pipe.execute()
        expired = [bulk_id for bulk_id, fields in zip(ids, hashes, strict=True) if "owner" not in fields]
        if expired:
            self._client.zrem(index, *expired)
        return [from_fields(Bulk, fields) for fields in hashes if "owner" in fields]

    def move(self, bulk_id: str, owner: str, wish: str) -> Bulk:
        """The bulk after ``wish``, one of ``WISHES``, was done to it.

        Raises:
            BulkNotFound: this owner has no bulk of this id.
            BulkStateConflict: it is in a state in which that cannot be done.
        """
        with redis_errors():
            answer = self._move(
                keys=[keys.bulk(bulk_id), keys.ACTIVE_BULKS],
                args=[owner, wish, time.time(), self._retention_s, EVENTS_KEPT],
            )
        if answer == "missing":
            raise BulkNotFound(f"there is no bulk {bulk_id!r}")
        bulk = self.get(bulk_id, owner)
        if answer != "ok":
            failed = f" with {bulk.failed} failed rows" if wish == "retry" else ""
            raise BulkStateConflict(f"the bulk is {answer}{failed}; {WISHES[wish]}")
        return bulk

    def accept(self, bulk_id: str, fields: Mapping[str, Any]) -> bool:
        """Whether the bulk waits for its turn now, with what checking found in its ``fields``; False if it was
        canceled meanwhile.
        """
        return self._take_in(bulk_id, BulkState.WAITING, fields)

    def finish_dry_run(self, bulk_id: str, fields: Mapping[str, Any]) -> bool:
        """Whether the bulk, which was to be checked and no more, has ended with this."""
        return self._take_in(bulk_id, BulkState.SUCCEEDED, fields)

    def refuse(self, bulk_id: str, error: StentorError, fields: Mapping[str, Any]) -> bool:
        """Whether the bulk has failed with this: its file is refused."""
        named = {"error_code": error.code, "error_detail": error.detail}
        return self._take_in(bulk_id, BulkState.FAILED, {**fields, **named})

    def _take_in(self, bulk_id: str, state: str, fields: Mapping[str, Any]) -> bool:
        items = [part for name, value in fields.items() if value is not None for part in (name, encode(value))]
        with redis_errors():
            answer = self._checked(
                keys=[keys.bulk(bulk_id), keys.ACTIVE_BULKS],
                args=[state, time.time(), self._retention_s, EVENTS_KEPT, *items],
            )
        return bool(answer)

    def put(self, bulk_id: str, **fields: Any) -> None:
        """Write fields of a bulk that is there."""
        items = [part for name, value in fields.items() for part in (name, encode(value))]
        with redis_errors():
            if self._client.exists(keys.bulk(bulk_id)):
                self._client.hset(keys.bulk(bulk_id), items=items)

    def wake(self, bulk_id: str) -> None:
        """Let the feeder look after a bulk that has ended: something is to be made of it."""
        with redis_errors():
            self._client.sadd(keys.ACTIVE_BULKS, bulk_id)

    def outcomes(self, bulk_id: str, chunk: int) -> dict[int, dict[str, str]] | None:
        """What Redis has of the outcomes of a chunk, by row; None if the chunk is not open: then S3 has them, or no
        row of it has entered a lane.
        """
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.hexists(keys.open_chunks(bulk_id), str(chunk))
            pipe.hgetall(keys.outcomes(bulk_id, chunk))
            is_open, lines = pipe.execute()
        return {int(row): decode_outcome(line) for row, line in lines.items()} if is_open else None

    def open_chunks(self, bulk_id: str) -> Sequence[int]:
        """Chunks of which Redis has the outcomes, in order."""
        with redis_errors():
            return sorted(int(chunk) for chunk in text_list(self._client.hkeys(keys.open_chunks(bulk_id))))

    def failures(self, bulk_id: str) -> dict[int, int]:
        """Chunks in S3 with rows that failed, and how many."""
        with redis_errors():
            found = text_map(self._client.hgetall(keys.failures(bulk_id)))
        return {int(chunk): int(count) for chunk, count in sorted(found.items(), key=lambda pair: int(pair[0]))}


def decode_outcome(line: str) -> dict[str, str]:
    """An outcome as ``shared/outcomes.lua`` wrote it: fields of a job's hash."""
    fields: dict[str, str] = json.loads(line)
    return fields
