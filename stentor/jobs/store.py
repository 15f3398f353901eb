"""The job store: jobs go in through a submission, are looked at, listed, and canceled."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import redis

from stentor.doorbell import SYNTHESIS_QUEUE
from stentor.errors import JobNotFound, JobSettled, LimitError, TooManyWaiting
from stentor.jobs.job import Job, JobState
from stentor.jobs.lanes import Lane, LaneState
from stentor.jobs.records import job_items, read_job
from stentor.owners.access import NO_LIMITS, Limits
from stentor.owners.usage import too_many_chars
from stentor.redis import keys
from stentor.redis.client import call_replicated, redis_errors, script, text_map

#: Outcomes kept for requests that wait. One that reads slower than this many outcomes looks at its job anyway.
EVENTS_KEPT = 10_000
#: Seconds after which some of the jobs that wait have most likely been spoken.
ROOM_AFTER_S = 5.0
#: Number of outdated notes of lanes that are kept, in addition to one for each lane.
MOST_STALE = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobPage:
    """Part of a list of jobs, newest first; ``next_cursor`` asks for what follows, None if nothing does."""

    jobs: list[Job]
    next_cursor: str | None


class JobStore:
    """Jobs in Redis, as clients see them. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer; nothing is half-written then.
    """

    def __init__(self, client: redis.Redis, *, retention_s: int, replicas: int = 0) -> None:
        """With ``replicas``, that many must have the jobs before a submission returns."""
        self._client = client
        self._retention_s = retention_s
        self._replicas = replicas
        self._submit = script(client, "jobs/submit")
        self._cancel = script(client, "jobs/cancel")

    def submit(
        self, jobs: Sequence[Job], *, limits: Limits = NO_LIMITS, ring: Callable[[], None] = lambda: None
    ) -> list[Job]:
        """Put queued jobs of one key into their lanes, all or none; when this returns, Redis has them.

        They come back in order; those that equal a job whose audio is known have succeeded already. ``ring`` is called
        when some wait and there are fewer doorbells than devices to hear them.

        Raises:
            DailyCharsExceeded, TooManyWaiting: the key would exceed its limit.
        """
        with redis_errors():
            answer = call_replicated(
                self._submit,
                self._replicas,
                keys=[keys.LANES, keys.queue(SYNTHESIS_QUEUE), keys.DEVICES],
                args=[
                    keys.GROUP,
                    time.time(),
                    self._retention_s,
                    EVENTS_KEPT,
                    json.dumps([_arguments(job) for job in jobs]),
                    _limit(limits.daily_chars),
                    _limit(limits.waiting_jobs),
                ],
            )
            if answer[0] != "ok":
                raise _refusal(limits, *answer)
            # A row of a bulk leaves nothing behind to be looked at.
            done = self._load_settled([] if jobs and jobs[0].bulk else answer[2:])
        if answer[1]:
            ring()
        return [done.get(job.id, job) for job in jobs]

    def _load_settled(self, ids: Sequence[str]) -> dict[str, Job]:
        pipe = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(keys.job(job_id))
        return {fields["id"]: read_job(fields) for fields in (pipe.execute() if ids else ()) if fields}

    def get(self, job_id: str, owner: str) -> Job:
        """The job as it is now.

        Raises:
            JobNotFound: this owner has no job of this id.
        """
        with redis_errors():
            fields = text_map(self._client.hgetall(keys.job(job_id)))
        if fields.get("owner") != owner:
            raise JobNotFound(f"there is no job {job_id!r}")
        return read_job(fields)

    def cancel(self, job_id: str, owner: str) -> Job:
        """The job, canceled; a device that is just speaking it throws the audio away.

        Raises:
            JobNotFound: this owner has no job of this id.
            JobSettled: the job already has its outcome.
        """
        with redis_errors():
            answer = self._cancel(
                keys=[keys.job(job_id)],
                args=[keys.GROUP, owner, time.time(), self._retention_s, EVENTS_KEPT],
            )
        if answer == -1:
            raise JobNotFound(f"there is no job {job_id!r}")
        job = self.get(job_id, owner)
        if answer == 0:
            raise JobSettled(f"the job is {job.state}; only a queued or running job can be canceled")
        return job

    def list(
        self, owner: str, *, states: Iterable[str] = tuple(JobState), limit: int, after: str | None = None
    ) -> JobPage:
        """The owner's jobs in these states, newest first, from the one that follows ``after`` on."""
        wanted = frozenset(states)
        indexes = sorted({keys.OPEN if state == JobState.QUEUED else state for state in wanted})
        jobs: list[Job] = []
        more = True
        with redis_errors():
            # One look is mostly enough: only of the index of open jobs are some in another state, the running ones.
            while more and len(jobs) <= limit:
                ids = self._ids(owner, indexes, limit + 1, after)
                more, after = len(ids) > limit, ids[-1] if ids else after
                jobs += [job for job in self._load(owner, indexes, ids) if job.state in wanted]
        return JobPage(jobs=jobs[:limit], next_cursor=jobs[limit - 1].id if len(jobs) > limit else None)

    def _ids(self, owner: str, indexes: Sequence[str], count: int, after: str | None) -> Sequence[str]:
        pipe = self._client.pipeline(transaction=False)
        for index in indexes:
            pipe.zrevrangebylex(keys.jobs(owner, index), f"({after}" if after else "+", "-", 0, count)
        return sorted({job_id for found in pipe.execute() for job_id in found}, reverse=True)[:count]

    def _load(self, owner: str, indexes: Sequence[str], ids: Sequence[str]) -> Iterator[Job]:
        """The jobs of these ids; an id whose job has expired leaves the indexes."""
        pipe = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(keys.job(job_id))
        hashes = pipe.execute()
        expired = [job_id for job_id, fields in zip(ids, hashes, strict=True) if not fields]
        if expired:
            for index in indexes:
                self._client.zrem(keys.jobs(owner, index), *expired)
        return (read_job(fields) for fields in hashes if fields)


def _arguments(job: Job) -> dict[str, object]:
    """The job as ``jobs/submit.lua`` takes it."""
    return {
        "job": keys.job(job.id),
        "id": job.id,
        "lane": job.lane,
        "owner": job.owner,
        "key_id": job.key_id or "",
        "recording": job.recording or "",
        "cache": keys.cache(job.fingerprint) if job.fingerprint else "",
        "chars": len(job.text),
        "bulk": job.bulk or "",
        "chunk": str(job.chunk),
        "row": str(job.row),
        "fields": job_items(job),
    }


def _limit(most: int | None) -> int:
    return -1 if most is None else most


def _refusal(limits: Limits, which: str, there: int, more: int) -> LimitError:
    if which == "chars":
        return too_many_chars(limits, there, more)
    error = TooManyWaiting(f"{there} jobs of the key wait, and {limits.waiting_jobs} may; {more} more are too many")
    error.retry_after_s = ROOM_AFTER_S
    return error


class Backlog:
    """What waits, for devices and the scheduler. Safe for threads."""

    def __init__(self, client: redis.Redis, *, lease_s: float) -> None:
        self._client = client
        self._note = script(client, "lanes/note_all")
        self._lost = script(client, "lanes/count_lost")
        self._lease_ms = round(lease_s * 1000)
        #: The priorities that were held at the last look, and what was made of each note since they are.
        self._last: tuple[AbstractSet[str], dict[str, LaneState]] = (frozenset(), {})

    def lanes(self) -> list[LaneState]:
        """All lanes in which something waits.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.smembers(keys.HELD)
            pipe.hvals(keys.BACKLOG)
            held, notes = pipe.execute()
            if not notes:
                notes = self._note(keys=[keys.LANES, keys.BACKLOG], args=[keys.GROUP])
            held_before, known = self._last
            if held != held_before or len(known) > 2 * len(notes) + MOST_STALE:
                known = {}
                self._last = held, known
            # Of ten thousand lanes most are as they were a second ago.
            found = list(map(known.get, notes))
            fresh = [note for note, state in zip(notes, found, strict=True) if state is None and note]
            in_hands = self._with_lost([note[:-1].split("\0") for note in fresh if note.endswith("+")])
        changed = {note: _state(*note.split("\0"), held=held) for note in fresh if not note.endswith("+")}
        known.update(changed)
        return [*filter(None, found), *changed.values(), *(_state(*note, held=held) for note in in_hands)]

    def _with_lost(self, notes: Sequence[list[str]]) -> list[list[str]]:
        """Those in whose lanes something waits, with what devices have been silent about.

        ``notes`` are lanes of which devices hold something, each with how many jobs wait besides and since when.
        """
        if not notes:
            return []
        notes = sorted(notes, key=lambda note: note[1] != "0")
        only_held = sum(waiting == "0" for _, waiting, _ in notes)
        lanes = [lane for lane, _, _ in notes]
        found = iter(self._lost(args=[keys.GROUP, self._lease_ms, only_held, *lanes]))
        for which, count, came_ms in zip(found, found, found, strict=True):
            lane, waiting, _ = notes[which]
            notes[which] = [lane, str(int(waiting) + count), came_ms]
        return [note for note in notes if note[1] != "0"]


def _state(lane: str, waiting: str, came_ms: str, *, held: AbstractSet[str]) -> LaneState:
    """What a note says, in parts."""
    found = _lane(lane)
    return LaneState(found, int(waiting), int(came_ms) / 1000, found.priority in held)


#: Lanes are few; to take a name apart is most of the work.
_lane = functools.lru_cache(maxsize=100_000)(Lane.from_key)
