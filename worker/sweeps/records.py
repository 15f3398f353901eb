"""Records that have expired: indexes, counts and uses that still name them."""

from __future__ import annotations

from collections.abc import Sequence

from stentor import log
from stentor.jobs.job import JobState
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from stentor.voices.recording_store import RecordingStore
from worker.sweeps.round import AT_MOST, AT_ONCE, Round, oldest_id

_log = log.get(__name__)


def sweep_jobs_indexes(sweep: Round, owners: Sequence[str]) -> None:
    """Take ids of expired jobs out of the owners' indexes. No job expires before it is as old as the retention."""
    old = f"({oldest_id('job', sweep.now_s - sweep.settings.retention_s)}"
    indexes = [keys.jobs(owner, state) for owner in owners for state in JobState if state != JobState.QUEUED]

    def look(index: str, after: str) -> tuple[str, int]:
        with redis_errors():
            ids = text_list(sweep.client.zrangebylex(index, f"({after}" if after else "-", old, 0, AT_ONCE))
        if ids and (taken := sweep.fence.run("sweeps/index", [index], keys.job(""), *ids)):
            _log.info("index_tidied", index=index, ids=taken)
        return ids[-1] if len(ids) == AT_ONCE else "", len(ids)

    sweep.progress.walk("records", indexes, look, at_most=AT_MOST)


def sweep_bulks(sweep: Round, owners: Sequence[str]) -> None:
    """Forget what is left of bulks that have expired, and let the feeder look after those that it has forgotten."""

    def look(owner: str, after: str) -> tuple[str, int]:
        index = keys.bulks(owner)
        with redis_errors():
            ids = text_list(sweep.client.zrangebylex(index, f"({after}" if after else "-", "+", 0, AT_ONCE))
        if ids:
            shown, expired = sweep.fence.run("sweeps/bulks", [index, keys.ACTIVE_BULKS], *ids)
            if shown:
                _log.warning("bulks_taken_up", bulks=shown)
            if expired:
                _log.info("index_tidied", index=index, ids=expired)
        return ids[-1] if len(ids) == AT_ONCE else "", len(ids)

    sweep.progress.walk("bulks", owners, look, at_most=AT_MOST)


def sweep_uses(sweep: Round, owners: Sequence[str]) -> None:
    """Take jobs and bulks that are over out of the uses of recordings, which could else not be deleted."""
    recordings = [one.id for owner in owners for one in RecordingStore(sweep.client).list(owner)]

    def look(recording_id: str, after: str) -> tuple[str, int]:
        uses = keys.recording_uses(recording_id)
        with redis_errors():
            cursor, ids = sweep.client.sscan(uses, int(after or 0), count=AT_ONCE)
        if ids and (over := sweep.fence.run("sweeps/uses", [uses], *text_list(ids))):
            _log.info("uses_tidied", voice_id=recording_id, uses=over)
        return str(cursor) if int(cursor) else "", len(ids)

    sweep.progress.walk("uses", recordings, look, at_most=AT_MOST)


def sweep_waiting(sweep: Round, owners: Sequence[str]) -> None:
    """Forget how many jobs of an owner's keys wait, if none does."""

    def look(owner: str, _: str) -> tuple[str, int]:
        with redis_errors():
            ids = sorted(text_list(sweep.client.smembers(keys.users(owner))))
        counts = [keys.waiting(key_id) for key_id in ids]
        for at in range(0, len(counts), AT_ONCE):
            wrong = sweep.fence.run("sweeps/waiting", [keys.jobs(owner, keys.OPEN)], *counts[at : at + AT_ONCE])
            if wrong:
                _log.warning("waiting_corrected", owner=owner, keys=wrong)
        return "", len(ids)

    sweep.progress.walk("waiting", owners, look, at_most=AT_MOST)
