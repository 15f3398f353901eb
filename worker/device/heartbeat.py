"""The device's heartbeat: reports its status and refreshes its claims, from a thread of its own."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

from stentor import log
from stentor.devices.registry import DeviceRegistry
from stentor.errors import RedisUnavailable
from worker.batching.rows import ClaimedJob
from worker.claiming.claims import Claims
from worker.device.status import StatusBoard

_log = log.get(__name__)

#: Beats in one lease: three may be lost before the device is taken for gone.
BEATS_PER_LEASE = 4


class Heartbeat:
    """Reports a device's status, at once when it changes and otherwise a few times in a lease."""

    def __init__(
        self,
        board: StatusBoard,
        registry: DeviceRegistry,
        claims: Claims,
        in_progress: Callable[[], Sequence[ClaimedJob]],
        *,
        lease_s: float,
        on_wake: Callable[[], None],
    ) -> None:
        """``on_wake`` is called, from the heartbeat's thread, after a report that the device works again after it was
        idle.
        """
        self._board = board
        self._registry = registry
        self._claims = claims
        self._in_progress = in_progress
        self._on_wake = on_wake
        self._every_s = lease_s / BEATS_PER_LEASE

    def start(self, on_beat: Callable[[bool], None] = lambda _: None) -> None:
        """Begin to report. ``on_beat`` is called after each report; with True after the first one, and after the first
        one since Redis was away.
        """
        threading.Thread(target=self._run, args=(on_beat,), name="heartbeat", daemon=True).start()

    def _run(self, on_beat: Callable[[bool], None]) -> None:
        away, met = False, False
        while True:
            try:
                self._report()
                on_beat(not met)
                away, met = False, True
            except RedisUnavailable as exc:
                if not away:
                    _log.warning("heartbeat_missed", reason=str(exc))
                away, met = True, False
            self._board.wait_for_change(self._every_s)

    def _report(self) -> None:
        status, wakes_now = self._board.take()
        self._registry.report(dataclasses.replace(status, seen_at=time.time()))
        if wakes_now:
            self._on_wake()
        self._claims.refresh([claim for claimed in self._in_progress() for claim in claimed.claims])
