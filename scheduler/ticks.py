"""The scheduler's ticks: for now it rings for lanes that wait without a doorbell, and says that it is there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable

from scheduler.leading import Leader
from scheduler.metrics import Gatherer, Metrics, Snapshot
from scheduler.system import System
from stentor import keys, log
from stentor.devices import DeviceRegistry
from stentor.doorbell import Doorbell, create_celery
from stentor.errors import RedisUnavailable
from stentor.lanes import LaneState
from stentor.redis_client import connect, redis_errors
from stentor.settings import Settings
from stentor.store import Backlog

_log = log.get(__name__)

#: Between two ticks, in seconds.
TICK_S = 1.0
#: How long a heartbeat is good for, in seconds.
BEAT_GOOD_FOR_S = 15


def overlooked(lanes: Iterable[LaneState], *, ring_after_s: float) -> list[LaneState]:
    """Lanes that have waited so long that their doorbell may have been lost. A doorbell too many costs nothing."""
    return [state for state in lanes if state.oldest_wait_s >= ring_after_s and not state.held]


class Scheduler:
    """Looks at the lanes once a tick."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._backlog = Backlog(self._client, lease_s=settings.lease_s)
        self._doorbell = Doorbell(create_celery(settings), self._client)
        self._registry = DeviceRegistry(self._client, lease_s=settings.lease_s)
        self._leader = Leader(self._client, settings.host)
        self._metrics = Metrics(settings)
        self._gatherer = Gatherer(self._client)
        self._system = System()

    def run(self, stopping: threading.Event) -> None:
        """Tick until ``stopping``; Redis being away is said once and waited out."""
        self._metrics.serve()
        away = False
        while not stopping.is_set():
            try:
                self.tick(time.time())
                away = False
            except RedisUnavailable as exc:
                if not away:
                    _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=TICK_S)
                away = True
            stopping.wait(TICK_S)
        self._metrics.close()

    def tick(self, now_s: float) -> bool:
        """Whether it rang.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        began_s = time.monotonic()
        with redis_errors():
            self._client.set(keys.beat("scheduler", self._settings.host), os.getpid(), ex=BEAT_GOOD_FOR_S)
        lanes, statuses = self._backlog.lanes(now_s), self._registry.list(now_s)
        is_leader = self._leader.token() is not None
        late = overlooked(lanes, ring_after_s=self._settings.ring_after_s)
        rang = bool(late) and self._doorbell.ring()
        if rang:
            oldest = max(late, key=lambda state: state.oldest_wait_s)
            _log.info("rang_again", lane=oldest.lane.key, wait_s=round(oldest.oldest_wait_s, 3))
        gathered = self._gatherer.gather(now_s) if self._metrics.due(now_s, is_leader=is_leader) else None
        self._metrics.show(
            Snapshot(
                now=now_s,
                statuses=statuses,
                lanes=lanes,
                is_leader=is_leader,
                gathered=gathered,
                tick_s=time.monotonic() - began_s,
            )
        )
        if self._system.due(now_s):
            self._system.tell(now_s, {})
        return rang
