"""Objects in S3 that nothing in Redis leads to any more: old audio, files of bulks that are gone, abandoned uploads."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from ulid import ULID

from stentor import log
from stentor.bulks import bulk as bulks
from stentor.days import DAY_S
from stentor.errors import AudioNotFound, StorageUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors
from worker.recordings.sweep import sweep as remove_recordings
from worker.sweeps.bucket import PAGE, Bucket, Stored
from worker.sweeps.round import Round, oldest_id

_log = log.get(__name__)

AUDIO: Final = "audio/"
BULKS: Final = "bulk/"
#: Below these lies all that Stentor uploads in parts.
UPLOADED: Final = (AUDIO, BULKS, "voices/")
#: Pages that one sweep lists at most. With SeaweedFS on two cores removing a page takes half a second.
PAGES_AT_MOST: Final = 20
#: Between the end of one pass over the bucket and the next, in seconds: lists cost money.
PASS_EVERY_S: Final = 3600.0
#: A Redis that knows of no sweep from before this time has lost its data, or is new: nothing is removed until then, in
#: seconds, so that a restored backup finds its objects.
NEW_S: Final = DAY_S

#: Lists a page from behind what it is given, and removes what has to go; answers with the last that it looked at, empty
#: at the end.
Look = Callable[[str], str]


def sweep_objects(sweep: Round, owners: Sequence[str], check: Callable[[], None]) -> None:
    """Remove what nothing leads to any more; ``check`` raises when another may be at it.

    Raises:
        SweepOvertaken: a later leader has come.
        RedisUnavailable: Redis does not answer.
    """
    if sweep.settings.sweep_objects == "off" or sweep.now_s - sweep.progress.since_s(sweep.now_s) < NEW_S:
        return
    objects = _Objects(sweep, owners, check)
    try:
        remove_recordings(sweep.client, sweep.storage)
        objects.go_over("audio", objects.old_audio)
        objects.go_over("folders", objects.gone_bulks)
        objects.go_over("uploads", objects.abandoned_uploads)
    except (StorageUnavailable, AudioNotFound) as exc:
        # AudioNotFound: there is no such bucket.
        _log.warning("objects_not_swept", reason=str(exc))


class _Objects:
    def __init__(self, sweep: Round, owners: Sequence[str], check: Callable[[], None]) -> None:
        self._sweep = sweep
        self._owners = owners
        self._check = check
        self._bucket = Bucket(sweep.storage)

    def go_over(self, name: str, look: Look) -> None:
        """Go on with a pass, or begin one if it is time."""
        progress, now_s = self._sweep.progress, self._sweep.now_s
        if now_s < float(progress.get(f"{name}_next") or 0):
            return
        place = progress.get(name)
        for _ in range(PAGES_AT_MOST):
            place = look(place)
            progress.put(name, place)
            if not place:
                progress.put(f"{name}_next", str(now_s + PASS_EVERY_S))
                return

    def old_audio(self, after: str) -> str:
        """A page of audio: what is older than anything that may lead to it goes.

        A job may get the audio of an equal one until ``cache_s`` after that was spoken, and can be asked for during
        ``retention_s`` from then on. So audio may be needed for the sum of both, counted from when it was written; one
        day more covers clocks, and a Redis that was away between writing and settling. The day in its key is that on
        which its job was made: no object is older than it.
        """
        until_s = self._audio_until_s
        page = self._bucket.objects(AUDIO, after)
        last_day = f"{AUDIO}{datetime.fromtimestamp(until_s, UTC):%Y/%m/%d}/"
        old = [found for found in page if found.modified_s < until_s]
        self._remove("audio_removed", self._unowned(old))
        over = len(page) < PAGE or page[-1].key[: len(last_day)] > last_day
        return "" if over else page[-1].key

    @functools.cached_property
    def _audio_until_s(self) -> float:
        """Audio that was written before this is needed by no job, and by no row of a bulk that is not its own.

        A bulk may take weeks, or be paused for as long, and its outcomes stay until it has ended and expired. Rows of
        it may have audio that was in the cache when it began.
        """
        settings, now_s = self._sweep.settings, self._sweep.now_s
        until_s = now_s - settings.retention_s - settings.cache_s - DAY_S
        long_ago = f"({oldest_id('bulk', now_s - settings.retention_s)}"
        with redis_errors():
            pipe = self._sweep.client.pipeline(transaction=False)
            for owner in self._owners:
                pipe.zrangebylex(keys.bulks(owner), "-", long_ago)
            ids = sorted({bulk_id for found in pipe.execute() for bulk_id in found})
            for bulk_id in ids:
                pipe.hmget(keys.bulk(bulk_id), ["created_at", "cached"])
            found = pipe.execute()
        began_s = [float(created_at) for created_at, cached in found if created_at and int(cached or 0)]
        return min([until_s, *(at_s - settings.cache_s - DAY_S for at_s in began_s)])

    def _unowned(self, page: Iterable[Stored]) -> list[str]:
        """Those that are of no row of a bulk that is still there."""
        by_key = {found.key: bulks.row_of(found.key.rpartition("/")[2].partition(".")[0]) for found in page}
        there = self._there({row[0] for row in by_key.values() if row})
        return [key for key, row in by_key.items() if row is None or row[0] not in there]

    def _there(self, bulk_ids: Iterable[str]) -> set[str]:
        ids = sorted(bulk_ids)
        with redis_errors():
            pipe = self._sweep.client.pipeline(transaction=False)
            for bulk_id in ids:
                pipe.exists(keys.bulk(bulk_id))
            return {bulk_id for bulk_id, there in zip(ids, pipe.execute(), strict=True) if there}

    def gone_bulks(self, after: str) -> str:
        """A page of bulks: files of those that are gone are removed, unless they are new.

        A file is uploaded before the bulk is put down, and a request that is sent again has the id that it had at
        first: so both the id and the object have to be a day old.
        """
        old_s = self._sweep.now_s - DAY_S
        folders, more = self._bucket.folders(BULKS, after)
        ids = {folder: bulk_id for folder in folders if made_at_s(bulk_id := folder.split("/")[1]) < old_s}
        there = self._there(ids.values())
        for folder, bulk_id in ids.items():
            if bulk_id not in there:
                self._empty(folder, old_s)
        return folders[-1] if more and folders else ""

    def _empty(self, folder: str, old_s: float) -> None:
        last = ""
        while page := self._bucket.objects(folder, last):
            self._remove("bulk_files_removed", [found.key for found in page if found.modified_s < old_s])
            last = page[-1].key
            if len(page) < PAGE:
                return

    def abandoned_uploads(self, _: str) -> str:
        """Uploads in parts that were begun more than a day ago: the process that began them has ended."""
        self._may_go_on()
        for prefix in UPLOADED:
            if given_up := self._bucket.abort_uploads(prefix, begun_before_s=self._sweep.now_s - DAY_S):
                _log.info("uploads_given_up", prefix=prefix, uploads=given_up)
        return ""

    def _remove(self, action: str, names: Sequence[str]) -> None:
        if names:
            self._may_go_on()
            self._bucket.delete(names)
            _log.info(action, objects=len(names), first=names[0], last=names[-1])

    def _may_go_on(self) -> None:
        self._check()
        self._sweep.fence.check()


def made_at_s(bulk_id: str) -> float:
    """When a bulk of this id was made, in seconds since the epoch; infinite for what is no id of a bulk."""
    with contextlib.suppress(ValueError):
        return ULID.from_str(bulk_id.removeprefix("bulk_").upper()).timestamp
    return float("inf")
