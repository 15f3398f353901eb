"""Strays: jobs without an outcome that no device would ever get. They go back into their lanes, once."""

from __future__ import annotations

from collections.abc import Sequence

from stentor import log
from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import CHUNK_ROWS
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list, text_map
from worker.sweeps.round import AT_MOST, AT_ONCE, YOUNG_S, Round, oldest_id

_log = log.get(__name__)

#: Ids that a log line names.
NAMED = 10


def put_back(sweep: Round, ids: Sequence[str]) -> list[str]:
    """Put those of the jobs back that are strays; the ids that no job has any more.

    Raises:
        SweepOvertaken: a later leader has come.
        RedisUnavailable: Redis does not answer.
    """
    missing: list[str] = []
    young_ms = round((sweep.now_s - YOUNG_S) * 1000)
    for at in range(0, len(ids), AT_ONCE):
        strays, gone = sweep.fence.run("sweeps/jobs", [keys.LANES], keys.GROUP, young_ms, *ids[at : at + AT_ONCE])
        missing += gone
        if strays:
            _log.warning("strays_put_back", jobs=len(strays), job_ids=strays[:NAMED])
    return missing


def sweep_jobs(sweep: Round, owners: Sequence[str]) -> None:
    """Look at jobs without an outcome, rows of bulks aside."""
    young = oldest_id("job", sweep.now_s - YOUNG_S)

    def look(owner: str, after: str) -> tuple[str, int]:
        index = keys.jobs(owner, keys.OPEN)
        with redis_errors():
            ids = text_list(sweep.client.zrangebylex(index, f"({after}" if after else "-", f"({young}", 0, AT_ONCE))
        missing = put_back(sweep, ids)
        for stale in (index, keys.jobs(owner, "running")) if missing else ():
            sweep.fence.run("sweeps/index", [stale], keys.job(""), *missing)
        return ids[-1] if len(ids) == AT_ONCE else "", len(ids)

    sweep.progress.walk("jobs", owners, look, at_most=AT_MOST)


def sweep_rows(sweep: Round) -> None:
    """Look at rows of bulks that are to be in lanes, and let those enter again that are nowhere."""

    def look(bulk_id: str, after: str) -> tuple[str, int]:
        with redis_errors():
            cursors = text_map(sweep.client.hgetall(keys.open_chunks(bulk_id)))
        chunks = sorted(int(chunk) for chunk in cursors if int(chunk) > int(after or -1))
        if not chunks:
            return "", 0
        first = chunks[0] * CHUNK_ROWS
        rows = _without_outcome(sweep, bulk_id, chunks[0], range(first + 1, first + int(cursors[str(chunks[0])]) + 1))
        missing = put_back(sweep, [bulks.job_id(bulk_id, row) for row in rows])
        gone = [found[1] for job_id in missing if (found := bulks.row_of(job_id))]
        # Most of them have just been settled.
        if gone and _without_outcome(sweep, bulk_id, chunks[0], gone):
            lost = sweep.fence.run("sweeps/bulk_rows", [keys.bulk(bulk_id), keys.open_chunks(bulk_id)], CHUNK_ROWS)
            if lost:
                _log.warning("rows_put_back", bulk_id=bulk_id, rows=lost)
        return str(chunks[0]) if len(chunks) > 1 else "", len(rows)

    with redis_errors():
        active = text_list(sweep.client.smembers(keys.ACTIVE_BULKS))
    sweep.progress.walk("rows", active, look, at_most=AT_MOST)


def _without_outcome(sweep: Round, bulk_id: str, chunk: int, rows: Sequence[int]) -> list[int]:
    if not rows:
        return []
    with redis_errors():
        outcomes = sweep.client.hmget(keys.outcomes(bulk_id, chunk), [str(row) for row in rows])
    return [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
