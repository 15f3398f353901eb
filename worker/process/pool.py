"""Celery's prefork pool, which looks more often for children that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

#: Celery notices at once that a child has ended, but often before it can be reaped, and then looks again only after
#: 5 s. The device would be missing for that time.
LOOK_EVERY_S = 0.2


class QuickPool(AsynPool):
    """Replaces an ended child within a fraction of a second."""

    @property
    def timers(self) -> dict[Callable[[], Any], float]:
        """What Celery's event loop calls, and how often in seconds."""
        return {self.maintain_pool: LOOK_EVERY_S}


class DevicePool(TaskPool):
    """The pool of all workers."""

    Pool = QuickPool
