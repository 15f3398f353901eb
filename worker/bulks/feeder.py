"""The feeder: puts rows of bulks into lanes, a window at a time, and writes their outcomes to S3 as they come in.

One feeder acts at a time, in whichever io worker holds the lease; another takes over when it ends. All that it knows
lies in Redis and S3, and every step may be repeated.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

import redis

from stentor import log
from stentor.bulks.bulk import CHUNK_ROWS, ENDED, MADE, VERSION, Bulk, BulkState
from stentor.bulks.store import BulkStore
from stentor.doorbell import CHECK_BULK, JOIN_GROUPS, PACK_ARCHIVE, Doorbell, create_celery
from stentor.errors import RecordNewer, RedisUnavailable, UnavailableError
from stentor.redis import keys
from stentor.redis.client import connect, redis_errors, script, text_list
from stentor.redis.lease import Lease
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from worker.bulks.chunks import ChunkStore, size
from worker.bulks.rates import Rates
from worker.bulks.shares import Standing, plan, window
from worker.recordings.sweep import sweep

_log = log.get(__name__)

#: How long a feeder that is not heard of keeps its place, in seconds.
LEASE_S: Final = 10.0
#: Between two rounds with something to do, with nothing to do, and while another feeder is active, in seconds.
BUSY_S, IDLE_S, STANDBY_S = 0.05, 0.25, 1.0
#: Pause after Redis or S3 did not answer, in seconds.
AWAY_S: Final = 1.0
#: A task without a worker is sent again after this time, in seconds.
ASK_AGAIN_S: Final = 15.0
#: Between two looks for what can be removed, in seconds.
SWEEP_EVERY_S: Final = 10.0
#: How long a bulk is left alone that cannot be dealt with, in seconds.
ASIDE_S: Final = 30.0
#: Open chunks beyond those that the window needs: each may be held open by a row that takes its time.
SPARE_CHUNKS: Final = 8
#: Between two reports of a bulk's progress to webhooks, in seconds.
PROGRESS_S: Final = 10.0


class Feeder:
    """Feeds the lanes from a thread of its own; ``tick`` is one round of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: redis.Redis = connect(settings)
        self._store = BulkStore(self._client, retention_s=settings.retention_s)
        self._doorbell = Doorbell(create_celery(settings), self._client)
        self._storage = Storage(settings)
        self._chunks = ChunkStore(self._client, settings, self._storage, VoiceDirectory(self._client))
        self._retry = script(self._client, "bulks/begin_retry")
        self._leave = script(self._client, "bulks/leave")
        self._rates = Rates()
        #: Bulks that are left alone, and until when.
        self._aside: dict[str, float] = {}
        self._swept_at_s = 0.0
        #: What was asked for, and when.
        self._asked: dict[tuple[str, str], float] = {}
        self._lease = Lease(self._client, keys.FEEDER, lease_s=LEASE_S)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that runs; another feeder may begin at once."""
        self._stopping.set()
        self._thread.join(LEASE_S)

    def _run(self) -> None:
        away = False
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                pause_s = STANDBY_S
                if self._lease.acquire():
                    pause_s = BUSY_S if self.tick(time.time()) else IDLE_S
                away = False
            except UnavailableError as exc:
                if not away:
                    _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=AWAY_S)
                away, pause_s = True, AWAY_S
            except Exception:  # noqa: BLE001 - the last door of the thread; the next round finds all as it was
                _log.exception("feeding_failed")
                pause_s = AWAY_S
        self._release()

    def _release(self) -> None:
        try:
            self._lease.release()
        except RedisUnavailable as exc:
            _log.warning("lease_not_released", reason=str(exc))

    def tick(self, now_s: float) -> bool:
        """Whether there are bulks whose rows are to be spoken.

        Raises:
            RedisUnavailable, StorageUnavailable: one of them does not answer; what was done stays done.
        """
        active = self._active(now_s)
        for bulk in active:
            with self._apart(bulk, now_s):
                self._settle_down(bulk, now_s)
        eating = [bulk for bulk in active if bulk.state in {BulkState.WAITING, BulkState.RUNNING}]
        for bulk in eating:
            if (rate := self._rates.of(bulk.id, bulk.settled, now_s)) is not None:
                self._store.put(bulk.id, rows_per_s=round(rate, 3))
                self._tell_progress(bulk, now_s)
        rows = window(self._settings.bulk_window, self._rates.total(bulk.id for bulk in eating))
        wanted = plan([self._standing(bulk) for bulk in eating], rows)
        fed = 0
        for bulk in eating:
            if bulk.id in wanted:
                with self._apart(bulk, now_s):
                    fed += self._feed(bulk, wanted[bulk.id])
        if fed:
            self._doorbell.ring()
        self._sweep(now_s)
        return bool(eating)

    @contextlib.contextmanager
    def _apart(self, bulk: Bulk, now_s: float) -> Iterator[None]:
        """Put a bulk aside for a while that cannot be dealt with, so that the others go on."""
        try:
            yield
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - what is wrong with one bulk (its objects were removed) is not the others'
            _log.exception("bulk_put_aside", bulk_id=bulk.id, pause_s=ASIDE_S)
            self._aside[bulk.id] = now_s + ASIDE_S

    def _active(self, now_s: float) -> list[Bulk]:
        with redis_errors():
            ids = sorted(text_list(self._client.smembers(keys.ACTIVE_BULKS)))
        self._aside = {bulk_id: until_s for bulk_id, until_s in self._aside.items() if until_s > now_s}
        bulks = {bulk_id: self._store.glance(bulk_id) for bulk_id in ids}
        for bulk_id, bulk in bulks.items():
            if bulk is None:
                with redis_errors():
                    self._client.srem(keys.ACTIVE_BULKS, bulk_id)
        there = [bulk for bulk in bulks.values() if bulk and bulk.id not in self._aside]
        return [bulk for bulk in there if self._reads(bulk, now_s)]

    def _reads(self, bulk: Bulk, now_s: float) -> bool:
        """Whether the bulk was written in a way that this release knows; else it is left to a newer one."""
        if bulk.version > VERSION:
            reason = f"it is of version {bulk.version}; this release reads up to {VERSION}"
            _log.warning("bulk_put_aside", bulk_id=bulk.id, code=RecordNewer.code, reason=reason, pause_s=ASIDE_S)
            self._aside[bulk.id] = now_s + ASIDE_S
        return bulk.version <= VERSION

    def _settle_down(self, bulk: Bulk, now_s: float) -> None:
        """Write what is complete to S3, and do what else the state of the bulk requires."""
        if bulk.state == BulkState.CHECKING:
            if now_s - bulk.created_at > ASK_AGAIN_S:
                self._ask(CHECK_BULK, bulk, "check", now_s)
            return
        cursors = self._chunks.cursors(bulk.id)
        if bulk.state in {BulkState.PAUSED, BulkState.CANCELED} and bulk.in_lanes > 0:
            for chunk in cursors:
                self._chunks.take_out(bulk, chunk, for_good=bulk.state == BulkState.CANCELED)
        in_full = [chunk for chunk, cursor in cursors.items() if cursor >= size(bulk, chunk)]
        # Their rows are not read again, so that a cursor stays valid.
        by_outcomes = bulk.retry_wanted or bulk.state in {BulkState.PAUSED, *ENDED}
        done = self._chunks.complete(bulk, list(cursors) if by_outcomes else in_full)
        for chunk in list(cursors) if bulk.state == BulkState.CANCELED else done:
            self._chunks.close(bulk, chunk)
            cursors.pop(chunk)
        if cursors:
            return
        if bulk.retry_wanted:
            with redis_errors():
                rows = self._retry(keys=[keys.bulk(bulk.id), keys.failures(bulk.id), keys.redo(bulk.id)])
            _log.info("bulk_retried", bulk_id=bulk.id, rows=rows)
        elif bulk.ended and not self._is_wanted_whole(bulk, now_s):
            self._say_goodbye(bulk)

    def _is_wanted_whole(self, bulk: Bulk, now_s: float) -> bool:
        """Whether something is still to be made of the whole bulk; it is asked for until it is there."""
        if bulk.state not in {BulkState.SUCCEEDED, BulkState.CANCELED} or bulk.dry_run:
            return False
        succeeded = bulk.state == BulkState.SUCCEEDED
        # Of a canceled bulk an archive is packed if somebody asked for it since.
        archive = bulk.archive and (succeeded or bulk.archive_state is not None)
        work = [
            (PACK_ARCHIVE, "archive", archive, bulk.archive_state),
            (JOIN_GROUPS, "groups", bulk.groups and succeeded, bulk.groups_state),
        ]
        wanted = [(task, name) for task, name, wish, state in work if wish and state not in MADE]
        for task, name in wanted:
            self._ask(task, bulk, name, now_s)
        return bool(wanted)

    def _ask(self, task: str, bulk: Bulk, work: str, now_s: float) -> None:
        """Send a task, and send it again while no worker has it: the one that had it may have been killed."""
        asked_s = self._asked.get((bulk.id, work), float("-inf"))
        if now_s - asked_s < ASK_AGAIN_S:
            return
        with redis_errors():
            at_it = self._client.exists(keys.bulk_lock(bulk.id, work))
        if not at_it:
            self._doorbell.ask(task, bulk_id=bulk.id)
            self._asked[bulk.id, work] = now_s

    def _say_goodbye(self, bulk: Bulk) -> None:
        """Have no more to do with a bulk."""
        with redis_errors():
            self._leave(keys=[keys.bulk(bulk.id), keys.ACTIVE_BULKS], args=[bulk.id, *bulk.recordings])
        self._rates.forget(bulk.id)
        self._asked = {place: asked_s for place, asked_s in self._asked.items() if place[0] != bulk.id}
        _log.info(
            "bulk_ended",
            bulk_id=bulk.id,
            state=bulk.state,
            rows=bulk.rows,
            succeeded=bulk.succeeded,
            failed=bulk.failed,
            audio_s=round(bulk.audio_s, 3),
        )

    def _sweep(self, now_s: float) -> None:
        """Remove what nothing needs any more: recordings that were deleted while bulks spoke with them."""
        if now_s - self._swept_at_s >= SWEEP_EVERY_S:
            self._swept_at_s = now_s
            sweep(self._client, self._storage)

    def _standing(self, bulk: Bulk) -> Standing:
        left = bulk.rows - bulk.settled - max(0, bulk.in_lanes)
        return Standing(bulk_id=bulk.id, key=bulk.key_id or bulk.owner, in_lanes=bulk.in_lanes, left=max(0, left))

    def _feed(self, bulk: Bulk, count: int) -> int:
        """How many rows of the bulk were put into lanes."""
        cursors = self._chunks.cursors(bulk.id)
        most_open = SPARE_CHUNKS + -(-self._settings.bulk_window // CHUNK_ROWS)
        fed = 0
        while fed < count:
            chunk = next((one for one, cursor in cursors.items() if cursor < size(bulk, one)), None)
            if chunk is None:
                chunk = self._another(
                    bulk, max([bulk.next_chunk, *(one + 1 for one in cursors)]), most_open - len(cursors)
                )
                if chunk is None:
                    break
                cursors[chunk] = 0
            cursors[chunk], put = self._chunks.put_into_lanes(bulk, chunk, cursors[chunk], count - fed)
            fed += put
        return fed

    def _another(self, bulk: Bulk, next_chunk: int, room: int) -> int | None:
        """A chunk that was opened now, one that is to be gone over again or the next; None if there is none."""
        with redis_errors():
            redo = text_list(self._client.srandmember(keys.redo(bulk.id), 1) or [])
        if redo:
            self._chunks.reopen(bulk, int(redo[0]))
            return int(redo[0])
        if next_chunk < bulk.chunks and room > 0 and self._chunks.open(bulk, next_chunk):
            return next_chunk
        return None

    def _tell_progress(self, bulk: Bulk, now_s: float) -> None:
        if bulk.state == BulkState.WAITING or not self._rates.progress_is_due(bulk.id, now_s, every_s=PROGRESS_S):
            return
        with redis_errors():
            if bulk.webhook_progress or self._client.exists(keys.webhooks(bulk.owner)):
                self._client.xadd(keys.OUTBOX, {"type": "bulk.progress", "id": bulk.id, "owner": bulk.owner})
