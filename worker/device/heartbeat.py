"""The device's heartbeat: says what it does and which jobs it still holds, from a thread of its own."""

from __future__ import annotations

import bisect
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from stentor import log
from stentor.devices.passes import added, sums_of
from stentor.devices.registry import SIZE_CLASSES, TIME_CLASSES_S, DeviceRegistry, DeviceState, DeviceStatus
from stentor.errors import RedisUnavailable
from worker.batching.forward_pass import ForwardPass
from worker.batching.packing import padded_cost
from worker.claiming.claims import Claim, Claims
from worker.device.wakes import wakes

_log = log.get(__name__)

#: Beats in one lease: three may be lost before anybody takes the device for gone.
BEATS_PER_LEASE = 4
#: How often a device that speaks tells how much it has spoken, in seconds.
TELL_EVERY_S = 1.0


def counted(before: DeviceStatus, done: ForwardPass, *, now: float) -> DeviceStatus:
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
        sizes=_one_more(before.sizes, bisect.bisect_left(SIZE_CLASSES, len(costs))),
        times=_one_more(before.times, bisect.bisect_left(TIME_CLASSES_S, done.took_s)),
        sums={**before.sums, info.model: added(before.sums.get(info.model, ()), sums)},
    )


def _one_more(counts: Sequence[int], at: int) -> tuple[int, ...]:
    return (*counts[:at], counts[at] + 1, *counts[at + 1 :])


class Heartbeat:
    """Reports a device's status, at once when it changes and otherwise a few times in a lease."""

    def __init__(
        self,
        registry: DeviceRegistry,
        claims: Claims,
        held: Callable[[], Sequence[Claim]],
        *,
        device_id: str,
        models: tuple[str, ...],
        lease_s: float,
        beat: Callable[..., None],
        woke: Callable[[], None] = lambda: None,
    ) -> None:
        """``beat`` is called after each report, with ``met=True`` after the first and whenever Redis has been away.

        ``woke`` is called, from the same thread, when it has been reported that the device works after it was idle.
        """
        self._registry = registry
        self._claims = claims
        self._held = held
        self._beat = beat
        self._woke = woke
        self._wakes = False
        self._every_s = lease_s / BEATS_PER_LEASE
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
        self._told_at = float("-inf")
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def status(self) -> DeviceStatus:
        """What is reported next."""
        with self._lock:
            return self._status

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def say(self, **changes: Any) -> None:
        """Change the status; it is reported soon, without waiting for Redis here."""
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

    def spoke(self, done: ForwardPass) -> None:
        """Count one forward pass; while a device speaks, that is told every second."""
        with self._lock:
            self._status = counted(self._status, done, now=time.time())
            due = time.monotonic() >= self._told_at + TELL_EVERY_S
        if due:
            self._changed.set()

    def _run(self) -> None:
        away, met = False, False
        while True:
            self._changed.clear()
            try:
                self._told_at = time.monotonic()
                with self._lock:
                    status, wakes_now, self._wakes = self._status, self._wakes, False
                self._registry.report(dataclasses.replace(status, seen_at=time.time()))
                if wakes_now:
                    self._woke()
                self._claims.refresh(self._held())
                self._beat(met=not met)
                away, met = False, True
            except RedisUnavailable as exc:
                if not away:
                    _log.warning("heartbeat_missed", reason=str(exc))
                away, met = True, False
            self._changed.wait(self._every_s)
