"""Webhooks: endpoints with something to be sent that no courier looks at."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from stentor import log
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from worker.sweeps.round import AT_MOST, AT_ONCE, Round

_log = log.get(__name__)


def sweep_webhooks(sweep: Round, owners: Sequence[str]) -> None:
    """Show endpoints to the couriers that they do not look at, and forget implicit ones that have expired.

    What a dead courier held, of the outbox or of deliveries, the others take over by themselves.

    Raises:
        SweepOvertaken: a later leader has come.
        RedisUnavailable: Redis does not answer.
    """

    def look(owner: str, after: str) -> tuple[str, int]:
        with redis_errors():
            implicit = text_list(sweep.client.zrange(keys.callbacks(owner), 0, -1))
            every = sorted({*text_list(sweep.client.hkeys(keys.webhooks(owner))), *implicit})
        start = bisect_right(every, after)
        ids = every[start : start + AT_ONCE]
        if ids:
            shown = sweep.fence.run("sweeps/endpoints", [keys.DUE_ENDPOINTS], *ids)
            sweep.fence.run("sweeps/index", [keys.callbacks(owner)], keys.endpoint(""), *ids)
            if shown:
                _log.warning("endpoints_made_due", owner=owner, endpoints=shown)
        return ids[-1] if start + AT_ONCE < len(every) else "", len(ids)

    sweep.progress.walk("webhooks", owners, look, at_most=AT_MOST)
