"""The status of a device: what its heartbeat reports next."""

from __future__ import annotations

import bisect
import dataclasses
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from stentor.devices.passes import combine_sums, sums_of
from stentor.devices.registry import SIZE_CLASSES, TIME_CLASSES_S, DeviceState, DeviceStatus
from worker.batching.forward_pass import ForwardPass
from worker.batching.packing import padded_cost
from worker.device.residency import Residency
from worker.device.wakes import wakes

#: How often a device that speaks reports how much it has spoken, in seconds.
COUNT_EVERY_S = 1.0


def count_pass(before: DeviceStatus, done: ForwardPass, *, now: float) -> DeviceStatus:
    """The status after one more forward pass."""
    info, costs = done.engine.info, [row.utterance.cost for row in done.rows]
    padded = padded_cost(costs, pads=info.pads)
    sums = sums_of(costs, padded_cost=padded, took_s=done.took_s)
    return dataclasses.replace(
        before,
        spoke_at=now,
        batches=before.batches + 1,
        rows=before.rows + len(costs),
        cost=before.cost + sum(costs),
        padded_cost=before.padded_cost + padded,
        audio_s=round(before.audio_s + done.audio_s, 3),
        busy_s=round(before.busy_s + done.took_s, 6),
        sizes=_increment(before.sizes, bisect.bisect_left(SIZE_CLASSES, len(costs))),
        times=_increment(before.times, bisect.bisect_left(TIME_CLASSES_S, done.took_s)),
        sums={**before.sums, info.model: combine_sums(before.sums.get(info.model, ()), sums)},
    )


def _increment(counts: Sequence[int], at: int) -> tuple[int, ...]:
    return (*counts[:at], counts[at] + 1, *counts[at + 1 :])


class StatusBoard:
    """The status that a device reports next. Safe for threads; it never waits for Redis."""

    def __init__(self, device_id: str, *, models: tuple[str, ...] = ()) -> None:
        now = time.time()
        self._status = DeviceStatus(
            id=device_id,
            pid=os.getpid(),
            state=DeviceState.STARTING,
            models=models,
            started_at=now,
            seen_at=now,
            state_at=now,
        )
        self._wakes = False
        self._taken_at = float("-inf")
        self._lock = threading.Lock()
        self._changed = threading.Event()

    @property
    def status(self) -> DeviceStatus:
        """The status as it is now."""
        with self._lock:
            return self._status

    def set(self, **changes: Any) -> None:
        """Change fields of the status; they are reported soon."""
        with self._lock:
            after = dataclasses.replace(self._status, **changes)
            if after == self._status:
                return
            if after.state != self._status.state:
                now = time.time()
                self._wakes = self._wakes or (after.state == DeviceState.BUSY and wakes(self._status, now))
                after = dataclasses.replace(after, state_at=now)
            self._status = after
        self._changed.set()

    def set_busy(self) -> None:
        """Report that the device works."""
        self.set(state=DeviceState.BUSY)

    def set_models(self, residency: Residency) -> None:
        """Report which model is resident or being loaded. ``loaded_at`` is of the model that was used last."""
        model = next(iter(residency.resident), None)
        loaded = residency.load_record(model)
        self.set(
            model=model,
            loading_at=residency.loading_at,
            loaded_at=loaded.at if loaded else None,
            load_s=loaded.took_s if loaded else None,
        )

    def count(self, done: ForwardPass) -> None:
        """Count one forward pass; while a device speaks, the counts are reported every second."""
        with self._lock:
            self._status = count_pass(self._status, done, now=time.time())
            due = time.monotonic() >= self._taken_at + COUNT_EVERY_S
        if due:
            self._changed.set()

    def take(self) -> tuple[DeviceStatus, bool]:
        """The status to report now, and whether the device has begun to work after it was idle, which is said once."""
        self._changed.clear()
        with self._lock:
            self._taken_at = time.monotonic()
            wakes_now, self._wakes = self._wakes, False
            return self._status, wakes_now

    def wait_for_change(self, timeout_s: float) -> None:
        """Wait until there is something new to report, for up to ``timeout_s``."""
        self._changed.wait(timeout_s)
