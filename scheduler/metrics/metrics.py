"""What the scheduler tells Prometheus: of its own machine always, of the cluster while it acts for it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

import prometheus_client
import redis
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from scheduler.metrics import exported
from scheduler.metrics.system import Host
from scheduler.metrics.work import seconds_of_work
from scheduler.policy import Clocks, Plan
from stentor import log
from stentor.devices.nvml import Reading
from stentor.devices.registry import DeviceStatus
from stentor.doorbell import IO_QUEUE, SYNTHESIS_QUEUE
from stentor.errors import SettingInvalid
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import LaneState
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_map
from stentor.settings import Settings

_log = log.get(__name__)

#: Between two looks at what only the metrics want, in seconds: Prometheus mostly asks every 15 s.
GATHER_EVERY_S = 5.0
#: Upper ends of the classes of ticks, in seconds. A tick is to take less than 0.1 s.
TICK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: A snapshot that is older than this, in seconds, is not told any more: the scheduler waits for Redis.
GOOD_FOR_S = 15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """What Redis holds that nobody but the metrics asks for."""

    #: ``succeeded``, ``canceled``, or ``failed:<code>`` -> how many jobs ever had this outcome.
    outcomes: Mapping[str, int]
    #: Priority -> jobs by ``exported.TOOK_CLASSES_S``, and the seconds of all of them, from submission to outcome.
    took: Mapping[str, Sequence[int]]
    took_s: Mapping[str, float]
    #: ``exported.RESULTS`` -> attempts to deliver a webhook.
    attempts: Mapping[str, int]
    #: Events of which no deliveries were made yet.
    outbox: int
    #: Deliveries that wait, whether they are due or not; endpoints to which something is due; when the first of it was.
    deliveries: int
    endpoints_due: int
    due_since: float | None
    #: Celery's messages by queue.
    queues: Mapping[str, int]
    bulks_active: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a tick knew. Times are seconds since the epoch."""

    now: float
    #: All devices of the cluster, and all lanes in which something waits.
    statuses: Sequence[DeviceStatus]
    lanes: Sequence[LaneState]
    plan: Plan | None = None
    #: By device; only of this scheduler's own host.
    clocks: Mapping[str, Clocks] = dataclasses.field(default_factory=dict)
    readings: Mapping[str, Reading] = dataclasses.field(default_factory=dict)
    #: Whether this scheduler acts for the cluster.
    is_leader: bool
    #: None: as it was a moment ago.
    gathered: Gathered | None = None
    tick_s: float


class Gatherer:
    """Asks Redis for what only the metrics want.

    Raises:
        RedisUnavailable: Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._backlog = script(client, "webhooks/backlog")

    def gather(self, now: float) -> Gathered:
        """All of it, in one round trip."""
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
            **counts_in({name: int(count) for name, count in text_map(outcomes).items()}),
            outbox=outbox,
            deliveries=deliveries,
            endpoints_due=due,
            due_since=float(since) if since else None,
            queues=dict(zip(queues, lengths, strict=True)),
            bulks_active=bulks,
        )


def counts_in(fields: Mapping[str, int]) -> dict[str, Any]:
    """What ``stentor:outcomes`` counts: ``outcomes``, ``took``, ``took_s`` and ``attempts`` of ``Gathered``."""
    powers = (*exported.TOOK_POWERS, exported.TOOK_POWERS.stop)
    kinds = ("took", "took_ms", "webhook")
    return {
        "outcomes": {name: count for name, count in fields.items() if name.partition(":")[0] not in kinds},
        "took": {
            priority: tuple(fields.get(f"took:{priority}:{power}", 0) for power in powers) for priority in PRIORITIES
        },
        "took_s": {priority: fields.get(f"took_ms:{priority}", 0) / 1000 for priority in PRIORITIES},
        "attempts": {result: fields.get(f"webhook:{result}", 0) for result in exported.RESULTS},
    }


class Metrics(Collector):
    """Serves ``/metrics`` where the settings say, from the last snapshot; a scrape asks nobody else."""

    def __init__(self, settings: Settings) -> None:
        self._bind = settings.metrics_bind
        self._host = Host()
        self._snapshot: Snapshot | None = None
        self._redis_up: bool | None = None
        self._gathered: Gathered | None = None
        self._gathered_at = float("-inf")
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self.registry = CollectorRegistry()
        self._ticks = Histogram(
            "stentor_scheduler_tick_seconds",
            exported.help_of("stentor_scheduler_tick_seconds"),
            buckets=TICK_BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    @property
    def on(self) -> bool:
        """Whether anybody may ask."""
        return self._bind is not None

    def serve(self) -> None:
        """Begin to answer, if the settings say where.

        Raises:
            SettingInvalid: it is not possible to listen there.
        """
        if self._bind is None:
            return
        host, _, port = self._bind.rpartition(":")
        try:
            self._server = prometheus_client.start_http_server(int(port), host.strip("[]"), registry=self.registry)
        except (OSError, OverflowError) as exc:
            raise SettingInvalid(f"STENTOR_METRICS_BIND is {self._bind!r}, where nothing can listen: {exc}") from exc
        _log.info("metrics_served", bind=self._bind)

    def due(self, now: float, *, is_leader: bool) -> bool:
        """Whether the next snapshot should have ``gathered``."""
        return self.on and is_leader and now - self._gathered_at >= GATHER_EVERY_S

    def show(self, snapshot: Snapshot) -> None:
        """Answer with this from now on."""
        self._redis_up = True
        self._ticks.observe(snapshot.tick_s)
        if snapshot.gathered is not None:
            self._gathered, self._gathered_at = snapshot.gathered, snapshot.now
        elif not snapshot.is_leader:
            self._gathered, self._gathered_at = None, float("-inf")
        self._snapshot = snapshot

    def away(self) -> None:
        """Redis did not answer."""
        self._redis_up = False

    def close(self) -> None:
        """Answer no more."""
        if self._server:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None

    def collect(self) -> list[Metric]:
        """All metrics now; those of which nothing is known are left out."""
        told = exported.Exported()
        told.build()
        told.machine(self._host.figures())
        if self._redis_up is not None:
            told.redis(answers=self._redis_up)
        if (snapshot := self._snapshot) is not None:
            told.scheduler(snapshot.now, is_leader=snapshot.is_leader)
            if time.time() - snapshot.now < GOOD_FOR_S:
                self._tell(told, snapshot)
        return told.families()

    def _tell(self, told: exported.Exported, snapshot: Snapshot) -> None:
        told.gpus(snapshot.clocks, snapshot.readings)
        if snapshot.is_leader:
            told.lanes(snapshot.now, snapshot.lanes)
            told.backlog(seconds_of_work(snapshot.lanes, snapshot.statuses))
            told.held(snapshot.plan.held if snapshot.plan else None)
            told.devices(snapshot.statuses)
            if (gathered := self._gathered) is not None:
                values: dict[str, Any] = dataclasses.asdict(gathered)
                told.gathered(snapshot.now, **values)
