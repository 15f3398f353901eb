"""Claims: jobs that a device claims out of lanes, holds, and settles or gives back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import redis

from stentor import log
from stentor.errors import RecordNewer
from stentor.jobs.job import VERSION, Job, Outcome
from stentor.jobs.lanes import Lane
from stentor.jobs.records import read_job
from stentor.jobs.store import EVENTS_KEPT
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list
from stentor.redis.record import encode
from stentor.settings import Settings

_log = log.get(__name__)

#: Name of the consumer that holds jobs which were given back; no device has it, for it has no slash.
RETURNED: Final = "returned"
#: Name of the consumer that holds jobs of a newer release until the lease is over.
NEWER: Final = "newer"
#: Entries that one call gives back; Redis does nothing else meanwhile.
RELEASED_AT_ONCE: Final = 500
#: Rows of bulks that the cache remembers: with 600 bytes each, so that a bulk of a million rows costs Redis no more
#: than one of this many. A file that is sent again with a few rows changed is mostly found.
BULK_ROWS_CACHED: Final = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of one job. It is void as soon as another device claims the job or the job is canceled."""

    job: Job
    entry: str
    #: Fields of the audio of an equal job that has been spoken; empty if there is none.
    known: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def suspect(self) -> bool:
        """Whether a process ended or went silent with this job in its hands before."""
        return self.job.attempts > 1


class Claims:
    """What one device claims.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, settings: Settings, device: str) -> None:
        self._client = client
        self._device = device
        self._lease_ms = round(settings.lease_s * 1000)
        self._kept_at = time.monotonic()
        self._retention_s = settings.retention_s
        self._cache_s = settings.cache_s
        self._claim = script(client, "jobs/claim")
        self._settle = script(client, "jobs/settle")
        self._give_back = script(client, "jobs/give_back")
        self._refresh = script(client, "jobs/refresh")
        self._release = script(client, "jobs/release")

    def claim(self, lane: Lane, count: int) -> list[Claim]:
        """Up to ``count`` jobs of a lane: first those that were given back or lost, then the oldest that wait."""
        lost = self._claimed(lane.key, count, "lost")
        return lost + (self._claimed(lane.key, count - len(lost), "new") if len(lost) < count else [])

    def orphan(self) -> Claim | None:
        """One job that an earlier process of this device held when it ended; None when there is none left."""
        with redis_errors():
            lanes = text_list(self._client.smembers(keys.LANES))
        for lane in sorted(lanes):
            for claim in self._claimed(lane, 1, "own"):
                return claim
        return None

    def release(self, *, but: Collection[str]) -> int:
        """Give back what an earlier process of this device held, but for these jobs; how many that were.

        Their claims do not count as attempts: they did not end the process.
        """
        released = 0
        with redis_errors():
            for lane in text_list(self._client.smembers(keys.LANES)):
                start = "-"
                while start != "(":
                    given, last = self._release(
                        keys=[lane], args=[keys.GROUP, self._device, RETURNED, RELEASED_AT_ONCE, start, *but]
                    )
                    released += int(given)
                    start = f"({last}"
        return released

    def _claimed(self, lane_key: str, count: int, mode: str) -> list[Claim]:
        with redis_errors():
            rows, newer = self._claim(
                keys=[lane_key],
                args=[keys.GROUP, self._device, count, time.time(), mode, self._lease_ms, VERSION, NEWER],
            )
        if newer:
            error = RecordNewer(f"jobs of a version above {VERSION} wait for a device of a newer release")
            _log.warning("jobs_left", code=error.code, reason=error.detail, jobs=len(newer), job_id=newer[0])
        return [Claim(job=read_job(_pairs(fields)), entry=entry, known=_pairs(known)) for entry, fields, known in rows]

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Record the job's outcome; False if this claim is void, and then nothing was changed."""
        fields = [part for name, value in outcome.fields.items() for part in (name, encode(value))]
        job = claim.job
        with redis_errors():
            answer = self._settle(
                keys=[keys.job(job.id), job.lane],
                args=[
                    keys.GROUP,
                    self._device,
                    claim.entry,
                    job.attempts,
                    outcome.state,
                    time.time(),
                    self._retention_s,
                    EVENTS_KEPT,
                    self._cache_s,
                    BULK_ROWS_CACHED,
                    *fields,
                ],
            )
        return bool(answer)

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Let any device take these jobs at once; the claims do not count as attempts."""
        by_lane: dict[str, list[str | int]] = {}
        for claim in claims:
            job = claim.job
            by_lane.setdefault(job.lane, []).extend((job.id, claim.entry, job.attempts))
        with redis_errors():
            for lane, parts in by_lane.items():
                self._give_back(keys=[lane], args=[keys.GROUP, self._device, RETURNED, *parts])

    def keep(self, claims: Sequence[Claim]) -> None:
        """Refresh these jobs if the heartbeat is late with it: this process stood still, or Redis was away.

        Else a claim would find this device's own jobs silent, and taking them once more would cost them an attempt.
        """
        if time.monotonic() - self._kept_at >= self._lease_ms / 2000:
            self.refresh(claims)

    def refresh(self, claims: Sequence[Claim]) -> None:
        """Say that these jobs are still in hand, so that nobody takes them for lost."""
        asked_at = time.monotonic()
        by_lane: dict[str, list[str]] = {}
        for claim in claims:
            by_lane.setdefault(claim.job.lane, []).append(claim.entry)
        with redis_errors():
            for lane, entries in by_lane.items():
                self._refresh(keys=[lane], args=[keys.GROUP, self._device, *entries])
        self._kept_at = asked_at


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
