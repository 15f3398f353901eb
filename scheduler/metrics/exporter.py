"""The scheduler's ``/metrics``: always about its own machine, and about the cluster while it leads."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from scheduler.metrics.gathering import Gathered
from scheduler.metrics.names import help_of
from scheduler.metrics.samples import Samples
from scheduler.metrics.system import Host
from scheduler.metrics.work import seconds_of_work
from scheduler.plan import Clocks, Plan
from stentor import log
from stentor.devices.nvml import Reading
from stentor.devices.registry import DeviceStatus
from stentor.errors import SettingInvalid
from stentor.jobs.lanes import LaneState
from stentor.settings import Settings

_log = log.get(__name__)

#: How often the counts that only the metrics use are read, in seconds. Prometheus usually asks every 15 s.
GATHER_EVERY_S = 5.0
#: Upper bounds of the histogram of ticks, in seconds. A tick should take less than 0.1 s.
TICK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: A snapshot older than this is not exported, in seconds: the scheduler waits for Redis.
MAX_AGE_S = 15.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a tick. Times are seconds since the epoch."""

    now: float
    #: All devices of the cluster, and all lanes with waiting jobs.
    statuses: Sequence[DeviceStatus]
    lanes: Sequence[LaneState]
    plan: Plan | None = None
    #: By device id, only of this scheduler's host.
    clocks: Mapping[str, Clocks] = dataclasses.field(default_factory=dict)
    readings: Mapping[str, Reading] = dataclasses.field(default_factory=dict)
    #: Whether this scheduler acts for the cluster.
    is_leader: bool
    #: None: use those of an earlier snapshot.
    gathered: Gathered | None = None
    tick_s: float


class SchedulerMetrics(Collector):
    """Serves ``/metrics`` from the last snapshot, so that a scrape reads nothing else."""

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
            help_of("stentor_scheduler_tick_seconds"),
            buckets=TICK_BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    @property
    def on(self) -> bool:
        """Whether metrics are served."""
        return self._bind is not None

    def serve(self) -> None:
        """Start the server, if ``STENTOR_METRICS_BIND`` is set.

        Raises:
            SettingInvalid: cannot listen on that address.
        """
        if self._bind is None:
            return
        host, _, port = self._bind.rpartition(":")
        try:
            self._server = prometheus_client.start_http_server(int(port), host.strip("[]"), registry=self.registry)
        except (OSError, OverflowError) as exc:
            raise SettingInvalid(f"STENTOR_METRICS_BIND is {self._bind!r}. Cannot listen there: {exc}") from exc
        _log.info("metrics_served", bind=self._bind)

    def due(self, now: float, *, is_leader: bool) -> bool:
        """Whether the next snapshot should have ``gathered``."""
        return self.on and is_leader and now - self._gathered_at >= GATHER_EVERY_S

    def show(self, snapshot: Snapshot) -> None:
        """Serve this snapshot from now on."""
        self._redis_up = True
        self._ticks.observe(snapshot.tick_s)
        if snapshot.gathered is not None:
            self._gathered, self._gathered_at = snapshot.gathered, snapshot.now
        elif not snapshot.is_leader:
            self._gathered, self._gathered_at = None, float("-inf")
        self._snapshot = snapshot

    def away(self) -> None:
        """Note that Redis does not answer."""
        self._redis_up = False

    def close(self) -> None:
        """Stop the server."""
        if self._server:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None

    def collect(self) -> list[Metric]:
        """All metrics now, without those whose values are unknown."""
        samples = Samples()
        samples.build()
        samples.machine(self._host.sample())
        if self._redis_up is not None:
            samples.redis(answers=self._redis_up)
        if (snapshot := self._snapshot) is not None:
            samples.scheduler(snapshot.now, is_leader=snapshot.is_leader)
            if time.time() - snapshot.now < MAX_AGE_S:
                self._add(samples, snapshot)
        return samples.families()

    def _add(self, samples: Samples, snapshot: Snapshot) -> None:
        samples.gpus(snapshot.clocks, snapshot.readings)
        if snapshot.is_leader:
            samples.lanes(snapshot.now, snapshot.lanes)
            samples.backlog(seconds_of_work(snapshot.lanes, snapshot.statuses))
            samples.holds(snapshot.plan.held if snapshot.plan else None)
            samples.devices(snapshot.statuses)
            if (gathered := self._gathered) is not None:
                samples.counts(snapshot.now, gathered)
