"""What only the metrics read from Redis: outcomes, webhooks, queues and bulks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from scheduler.metrics.names import RESULTS, TOOK_POWERS
from stentor.doorbell import IO_QUEUE, SYNTHESIS_QUEUE
from stentor.jobs.job import PRIORITIES
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_map


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """The counts in Redis that only the metrics use."""

    #: ``succeeded``, ``canceled``, or ``failed:<code>`` -> number of jobs that ever had this outcome.
    outcomes: Mapping[str, int]
    #: Priority -> jobs by ``TOOK_CLASSES_S``; priority -> their sum in seconds, from submission to outcome.
    took: Mapping[str, Sequence[int]]
    took_s: Mapping[str, float]
    #: ``RESULTS`` -> attempts to deliver a webhook.
    attempts: Mapping[str, int]
    #: Events without deliveries yet.
    outbox: int
    #: Deliveries that wait, due or not; endpoints with a due delivery; when the first of those became due.
    deliveries: int
    endpoints_due: int
    due_since: float | None
    #: Celery's messages by queue.
    queues: Mapping[str, int]
    bulks_active: int


class Gatherer:
    """Reads from Redis what only the metrics use.

    Raises:
        RedisUnavailable: Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._backlog = script(client, "webhooks/backlog")

    def gather(self, now: float) -> Gathered:
        """Read all counts in one round trip."""
        queues = (IO_QUEUE, SYNTHESIS_QUEUE)
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(keys.OUTCOMES)
            pipe.xlen(keys.OUTBOX)
            self._backlog(args=[now, keys.DUE_ENDPOINTS], client=pipe)
            pipe.scard(keys.ACTIVE_BULKS)
            for queue in queues:
                pipe.llen(keys.queue(queue))
            outcomes, outbox, (deliveries, due, since), bulks, *lengths = pipe.execute()
        return Gathered(
            **outcome_counts({name: int(count) for name, count in text_map(outcomes).items()}),
            outbox=outbox,
            deliveries=deliveries,
            endpoints_due=due,
            due_since=float(since) if since else None,
            queues=dict(zip(queues, lengths, strict=True)),
            bulks_active=bulks,
        )


def outcome_counts(fields: Mapping[str, int]) -> dict[str, Any]:
    """The fields ``outcomes``, ``took``, ``took_s`` and ``attempts`` of ``Gathered``, from the outcomes in Redis."""
    powers = (*TOOK_POWERS, TOOK_POWERS.stop)
    kinds = ("took", "took_ms", "webhook")
    return {
        "outcomes": {name: count for name, count in fields.items() if name.partition(":")[0] not in kinds},
        "took": {
            priority: tuple(fields.get(f"took:{priority}:{power}", 0) for power in powers) for priority in PRIORITIES
        },
        "took_s": {priority: fields.get(f"took_ms:{priority}", 0) / 1000 for priority in PRIORITIES},
        "attempts": {result: fields.get(f"webhook:{result}", 0) for result in RESULTS},
    }
