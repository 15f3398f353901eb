"""The scheduler's ticks: once a second it reads the state of the cluster, and its parts act on it.

One scheduler runs per host. Each sets the clocks and keeps the bill of its own devices. The leader also acts for the
cluster: it orders devices to load and unload models, rings for lanes that wait, and asks for sweeps.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator, Sequence

import redis

from scheduler.bill.meter import Meter
from scheduler.clocks.keeper import ClockKeeper
from scheduler.clocks.restorer import ClockRestorer
from scheduler.leading import Leader
from scheduler.metrics.exporter import SchedulerMetrics, Snapshot
from scheduler.metrics.gathering import Gatherer
from scheduler.metrics.system import SystemLog
from scheduler.plan import DeviceView, Rules
from scheduler.policy import decide
from scheduler.residency.orders import Orders
from scheduler.sweeping import Sweeps
from stentor import log
from stentor.devices.overrides import NO_OVERRIDE, OverrideStore
from stentor.devices.registry import DeviceRegistry, DeviceStatus
from stentor.doorbell import Doorbell, create_celery
from stentor.errors import RedisUnavailable
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.redis.client import connect, redis_errors
from stentor.settings import Settings

_log = log.get(__name__)

#: Time between two ticks, in seconds.
TICK_S = 1.0
#: Minimum pause before a tick, in seconds. A device that wakes brings the next tick forward.
LEAST_PAUSE_S = 0.1
#: How long Redis may take to answer, in seconds; the next tick asks again.
ANSWER_TIMEOUT_S = 3.0
#: How long a heartbeat is valid, in seconds.
HEARTBEAT_TTL_S = 15


@contextlib.contextmanager
def collect_garbage_later() -> Iterator[None]:
    """Let Python collect garbage between two ticks, not within one.

    The objects of a tick live until the next tick replaces them. Scanning them again and again took a third of a tick
    with 10,000 lanes (``tests.bench.tick``), and freed nothing.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Scheduler:
    """All parts of one host's scheduler."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = connect(settings, retries=0, answer_timeout_s=ANSWER_TIMEOUT_S)
        self._rules = Rules.of(settings)
        self._registry = DeviceRegistry(self._client, lease_s=settings.lease_s)
        self._backlog = Backlog(self._client, lease_s=settings.lease_s)
        self._overrides = OverrideStore(self._client)
        doorbell = Doorbell(create_celery(settings), self._client)
        self._leader = Leader(self._client, f"{settings.host}/{os.getpid()}")
        self._orders = Orders(self._client, doorbell, settings)
        self._sweeps = Sweeps(self._client, doorbell)
        self._keeper = ClockKeeper(self._client, settings, restorer=ClockRestorer())
        self._meter = Meter(self._client, settings)
        self._metrics = SchedulerMetrics(settings)
        self._gatherer = Gatherer(self._client)
        self._system = SystemLog()

    def run(self, stopping: threading.Event) -> None:
        """Tick until ``stopping``. While Redis is away, log it once and wait."""
        away = False
        try:
            self._keeper.start(time.time())
            self._metrics.serve()
            while not stopping.is_set():
                began_s = time.monotonic()
                try:
                    with collect_garbage_later():
                        self.tick(time.time())
                    away = False
                except RedisUnavailable as exc:
                    if not away:
                        _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=TICK_S)
                    away = True
                    self._metrics.away()
                    self._keeper.away(time.time())
                self._pause(stopping, began_s + TICK_S, away=away)
        finally:
            self.close()

    def tick(self, now_s: float) -> None:
        """Read the state of the cluster at ``now_s`` (seconds since the epoch), and act.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        began_s = time.monotonic()
        with redis_errors():
            self._client.set(keys.beat("scheduler", self._settings.host), os.getpid(), ex=HEARTBEAT_TTL_S)
        lanes, statuses = self._backlog.lanes(), self._registry.list(now_s)
        token = self._leader.token()
        self._keeper.look(statuses, now_s)
        plan = decide(now_s, self._rules, lanes, self._views(statuses))
        self._keeper.act(plan.wants, now_s)
        clocks, readings = self._keeper.views(), self._keeper.readings()
        if token is not None:
            self._orders.act(plan, statuses, token, now_s)
            self._sweeps.act(token, now_s)
        self._meter.sample(now_s, statuses, readings, clocks)
        self._meter.flush(now_s)
        leads = token is not None
        gathered = self._gatherer.gather(now_s) if self._metrics.due(now_s, is_leader=leads) else None
        self._metrics.show(
            Snapshot(
                now=now_s,
                statuses=statuses,
                lanes=lanes,
                plan=plan,
                clocks=clocks,
                readings=readings,
                is_leader=leads,
                gathered=gathered,
                tick_s=time.monotonic() - began_s,
            )
        )
        if self._system.due(now_s):
            self._system.log(now_s, readings)

    def close(self) -> None:
        """Reset clocks, charge what was counted, and let another scheduler lead at once."""
        self._keeper.close()
        with contextlib.suppress(RedisUnavailable):
            self._meter.flush()
            self._leader.resign()
        self._metrics.close()

    def _views(self, statuses: Sequence[DeviceStatus]) -> list[DeviceView]:
        overrides, clocks = self._overrides.of(status.id for status in statuses), self._keeper.views()
        return [
            DeviceView(status=status, override=overrides.get(status.id, NO_OVERRIDE), clocks=clocks.get(status.id))
            for status in statuses
        ]

    def _pause(self, stopping: threading.Event, until_s: float, *, away: bool) -> None:
        """Wait for the next tick, or until a device of this host starts to work after it was idle."""
        stopping.wait(LEAST_PAUSE_S)
        left_s = until_s - time.monotonic()
        if left_s <= 0 or stopping.is_set():
            return
        key = keys.wakes(self._settings.machine)
        try:
            if away:
                stopping.wait(left_s)
            elif self._client.blpop([key], timeout=left_s):
                self._client.delete(key)
        except redis.RedisError:
            stopping.wait(max(0.0, until_s - time.monotonic()))
