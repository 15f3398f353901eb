"""Lanes: entries that no job needs, entries that no device gets, and lanes that are no longer used."""

from __future__ import annotations

from stentor import log
from stentor.days import DAY_S
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from worker.claiming.claims import RETURNED
from worker.sweeps.round import AT_MOST, AT_ONCE, YOUNG_S, Round
from worker.sweeps.strays import put_back

_log = log.get(__name__)


def sweep_lanes(sweep: Round) -> None:
    """Look at entries of lanes; lanes that were not used for a day and are empty go.

    Raises:
        SweepOvertaken: a later leader has come.
        RedisUnavailable: Redis does not answer.
    """
    young_ms = round((sweep.now_s - YOUNG_S) * 1000)

    def look(lane: str, after: str) -> tuple[str, int]:
        start = f"({after}" if after else "-"
        last, looked_at, removed, *strays = sweep.fence.run("sweeps/lane", [lane], keys.GROUP, young_ms, start, AT_ONCE)
        if removed:
            _log.warning("entries_removed", lane=lane, entries=removed)
        put_back(sweep, strays)
        if not last:
            _forget(sweep, lane)
        return last, looked_at

    with redis_errors():
        lanes = text_list(sweep.client.smembers(keys.LANES))
    sweep.progress.walk("lanes", lanes, look, at_most=AT_MOST)


def _forget(sweep: Round, lane: str) -> None:
    gone, devices = sweep.fence.run(
        "sweeps/idle_lane",
        [lane, keys.LANES, keys.DEVICES],
        keys.GROUP,
        RETURNED,
        round(sweep.now_s * 1000),
        DAY_S * 1000,
    )
    if gone or devices:
        _log.info("lane_tidied", lane=lane, removed=bool(gone), devices_forgotten=devices)
