"""The core of a device: the parts that claim, speak and finish texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from stentor.jobs.store import Backlog
from worker.batching.budget import Budgets
from worker.batching.rows import ClaimedJob
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.drain import Drain
from worker.device.residency import Residency
from worker.finishing.finisher import Finisher
from worker.process.guard import Guard


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCore:
    """A device without its heartbeat, its orders and Celery. ``worker.device.wiring`` builds it."""

    id: str
    residency: Residency
    backlog: Backlog
    claims: Claims
    ready: ReadyQueue
    finisher: Finisher
    budgets: Budgets
    guard: Guard
    drain: Drain
    #: The jobs that this device holds: ready, being spoken, or being finished.
    in_progress: Callable[[], Sequence[ClaimedJob]]
