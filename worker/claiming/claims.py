"""Claims: a device takes jobs out of lanes, keeps them, and settles them or gives them back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import redis

from stentor import log
from stentor.errors import RecordNewer
from stentor.jobs.job import VERSION, Job, JobState, Outcome
from stentor.jobs.lanes import Lane
from stentor.jobs.records import read_job
from stentor.jobs.store import EVENTS_KEPT
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list
from stentor.redis.record import encode
from stentor.settings import Settings

_log = log.get(__name__)

#: Name of the consumer that holds jobs that were given back. No device has this name, because it has no slash.
RETURNED: Final = "returned"
#: Name of the consumer that holds jobs of a newer release until their lease is over.
NEWER: Final = "newer"
#: Maximum number of entries that one call gives back; Redis does nothing else during a call.
RELEASED_AT_ONCE: Final = 500
#: Maximum number of bulk rows that the cache remembers. At 600 bytes each, a bulk of a million rows costs Redis no more
#: than this many rows. It is enough to find most rows of a file that is sent again with a few changes.
BULK_ROWS_CACHED: Final = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of one job. It becomes void when another device claims the job or the job is canceled."""

    job: Job
    entry: str
    #: Audio fields of an equal job that was spoken before; empty if there is no such job.
    known: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def suspect(self) -> bool:
        """Whether a process ended or went silent while it held this job."""
        return self.job.attempts > 1


class Claims:
    """The claims of one device in Redis.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, settings: Settings, device: str) -> None:
        self._client = client
        self._device = device
        self._lease_ms = round(settings.lease_s * 1000)
        self._refreshed_at = time.monotonic()
        self._retention_s = settings.retention_s
        self._cache_s = settings.cache_s
        self._claim = script(client, "jobs/claim")
        self._settle = script(client, "jobs/settle")
        self._give_back = script(client, "jobs/give_back")
        self._refresh = script(client, "jobs/refresh")
        self._release = script(client, "jobs/release")

    def claim(self, lane: Lane, count: int) -> list[Claim]:
        """Up to ``count`` jobs of a lane: first jobs that were given back or lost, then the oldest that wait."""
        lost = self._run_claim(lane.key, count, "lost")
        return lost + (self._run_claim(lane.key, count - len(lost), "new") if len(lost) < count else [])

    def claim_orphan(self) -> Claim | None:
        """One job that an earlier process of this device held when it ended; None if there is no such job left."""
        with redis_errors():
            lanes = text_list(self._client.smembers(keys.LANES))
        for lane in sorted(lanes):
            for claim in self._run_claim(lane, 1, "own"):
                return claim
        return None

    def release(self, *, but: Collection[str]) -> int:
        """Give back the jobs that an earlier process of this device held, except these, and return their number.

        Their claims do not count as attempts, because they did not end the process.
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

    def _run_claim(self, lane_key: str, count: int, mode: str) -> list[Claim]:
        with redis_errors():
            rows, newer = self._claim(
                keys=[lane_key],
                args=[keys.GROUP, self._device, count, time.time(), mode, self._lease_ms, VERSION, NEWER],
            )
        if newer:
            error = RecordNewer(
                f"Jobs with a record version above {VERSION} wait for a device of a newer Stentor release. "
                "Upgrade this worker."
            )
            _log.warning("jobs_left", code=error.code, reason=error.detail, jobs=len(newer), job_id=newer[0])
        return [Claim(job=read_job(_pairs(fields)), entry=entry, known=_pairs(known)) for entry, fields, known in rows]

    def settle(self, claim: Claim, outcome: Outcome, *, began_at: float | None = None) -> bool:
        """Record the job's outcome and log it; False if this claim is void, and then nothing was changed.

        ``began_at`` is when the work on the outcome began, in the seconds of ``time.monotonic``.
        """
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
        _log_outcome(job, outcome, settled=bool(answer), began_at=began_at)
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

    def refresh_if_late(self, claims: Sequence[Claim]) -> None:
        """Refresh these claims if the heartbeat is late: this process was suspended, or Redis was away.

        Otherwise a claim would find this device's own jobs silent, and claiming them again would cost them an attempt.
        """
        if time.monotonic() - self._refreshed_at >= self._lease_ms / 2000:
            self.refresh(claims)

    def refresh(self, claims: Sequence[Claim]) -> None:
        """Report that this device still holds these jobs, so that no other device takes them for lost."""
        asked_at = time.monotonic()
        by_lane: dict[str, list[str]] = {}
        for claim in claims:
            by_lane.setdefault(claim.job.lane, []).append(claim.entry)
        with redis_errors():
            for lane, entries in by_lane.items():
                self._refresh(keys=[lane], args=[keys.GROUP, self._device, *entries])
        self._refreshed_at = asked_at


def _log_outcome(job: Job, outcome: Outcome, *, settled: bool, began_at: float | None) -> None:
    report = _log.warning if outcome.state == JobState.FAILED else _log.info
    report(
        "job_settled" if settled else "delivery_void",
        job_id=job.id,
        state=outcome.state,
        code=outcome.fields.get("error_code"),
        audio_s=outcome.fields.get("audio_s"),
        batch_id=outcome.fields.get("batch_id"),
        cached=outcome.fields.get("cached", False),
        attempts=job.attempts,
        took_s=None if began_at is None else round(time.monotonic() - began_at, 4),
    )


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
