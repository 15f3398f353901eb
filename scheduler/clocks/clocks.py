"""The keeper of clocks: lowers the clocks of this host's GPUs when that is wanted, and always gives them back.

Before it lowers clocks it writes a lease to Redis and tells its heir. So whatever ends this process, somebody resets
them: itself when it stops or when Redis is away, the heir when it is killed, the next one when both are. It resets
nothing that it did not lower: clocks that an administrator has locked stay locked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import redis

from scheduler.clocks.gpus import Gpus
from scheduler.clocks.heir import PATIENCE_S, Heir
from scheduler.clocks.leases import Leases
from scheduler.contexts import Contexts
from scheduler.policy import UNAVAILABLE, Clocks, Want
from stentor import log
from stentor.devices.clocks import ClocksBoard, ClocksReport
from stentor.devices.nvml import MIG_PREFIX, Reading
from stentor.devices.overrides import LOW, NORMAL
from stentor.devices.registry import DeviceStatus
from stentor.errors import ClocksRefused, GpuLost, RedisUnavailable
from stentor.settings import Settings

_log = log.get(__name__)

#: Redis may be away for so long before clocks are given back, in seconds: nobody could say then that work waits.
AWAY_GRACE_S: Final = 3.0
#: How often the board is written while nothing changes, in seconds.
WRITE_EVERY_S: Final = 5.0


def judged(wants: Mapping[str, Want | None], foreign: Iterable[int]) -> tuple[str | None, str]:
    """What is wanted of one GPU, of which these devices (by id) are parts: ``low``, ``normal`` or None, and why.

    It gets low clocks only if all its devices want that and nobody else (``foreign``, by pid) uses it.
    """
    for device, want in wants.items():
        if want is not None and want.clocks == NORMAL:
            return NORMAL, want.clocks_reason if len(wants) == 1 else f"{device}: {want.clocks_reason}"
    pids = sorted(foreign)
    if pids:
        return NORMAL, f"process {', '.join(map(str, pids))} uses the GPU, too, and is none of Stentor's"
    if not wants:
        return NORMAL, "no device is on it any more"
    reasons = [want.clocks_reason for want in wants.values() if want is not None and want.clocks == LOW]
    return (LOW, reasons[0]) if len(reasons) == len(wants) else (None, "nothing is wanted of them")


class ClockKeeper:
    """One per host. A tick is ``look``, then ``act``; or ``away`` while Redis does not answer.

    ``now`` is seconds since the epoch everywhere.
    """

    def __init__(
        self, client: redis.Redis, settings: Settings, *, heir: Heir | None = None, gpus: Gpus | None = None
    ) -> None:
        """Without an ``heir`` nobody gives clocks back when this process is killed, until the next one starts."""
        self._machine = settings.machine
        self._leases = Leases(client, settings.machine)
        self._board = ClocksBoard(client)
        self._heir = heir
        self._gpus = gpus or Gpus()
        self._contexts = Contexts()
        self._own: list[DeviceStatus] = []
        #: Whether the leases of an earlier run have been read.
        self._read_leases = False
        #: GPUs that are still to be reset: of an earlier run, or lost while they were low.
        self._left: set[str] = set()
        #: GPUs whose lease is over and still stands in Redis.
        self._over: set[str] = set()
        #: GPUs that this process has lowered.
        self._low: set[str] = set()
        #: GPU -> when its clocks became what they are, if they ever changed, and why they are so.
        self._since: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        #: Device -> since when its clocks are unavailable.
        self._unavailable_since: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()
        self._written: tuple[float, object] = (float("-inf"), None)
        self._looked_at = float("-inf")
        self._told_s = time.monotonic()

    # --- what others ask

    def views(self) -> Mapping[str, Clocks]:
        """How the clocks of each device of this host are, by id."""
        return {status.id: self._view(status) for status in self._own}

    def readings(self) -> Mapping[str, Reading]:
        """What NVML told of each device's GPU in this tick, by id; devices on one GPU have the same reading."""
        readings = self._gpus.readings
        return {status.id: readings[status.gpu] for status in self._own if status.gpu and status.gpu in readings}

    def _view(self, status: DeviceStatus) -> Clocks:
        reason = self._why_unavailable(status)
        if reason is not None:
            since = self._unavailable_since.get(status.id, self._looked_at)
            return Clocks(state=UNAVAILABLE, since=since, reason=reason)
        gpu = status.gpu or ""
        state = LOW if gpu in self._low | self._left else NORMAL
        return Clocks(state=state, since=self._since.get(gpu, 0.0), reason=self._reasons.get(gpu, ""))

    def _why_unavailable(self, status: DeviceStatus) -> str | None:
        if not status.id.partition("/")[2].startswith("cuda"):
            return "it is no GPU"
        if status.gpu is None:
            return "its process could not ask NVML which GPU it is"
        if status.gpu.startswith(MIG_PREFIX):
            return "it is a slice of a GPU (MIG), and the clocks are everybody's"
        return self._gpus.unavailable(status.gpu)

    # --- ticks

    def start(self, now: float) -> bool:
        """Give back what an earlier run left low, before anything else. Whether nothing may be low any more.

        Without Redis nobody knows what that is; then all GPUs are reset.
        """
        try:
            self._read()
        except RedisUnavailable as exc:
            return self._reset_all(now, exc.detail)
        if self._left:
            self._gpus.look(now)
            self._reset_left(now)
        return not self._left

    def look(self, statuses: Sequence[DeviceStatus], now: float) -> None:
        """Take note of the devices, and read their GPUs.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        self._looked_at = now
        self._own = [status for status in statuses if status.machine == self._machine]
        self._contexts.note(self._own)
        looks = bool(self._left) or any(status.gpu for status in self._own)
        opened = looks and self._gpus.look(now)
        self._take_over_from_heir(now)
        for gpu in self._low - set(self._gpus.uuids):
            self._low.discard(gpu)
            self._left.add(gpu)
        if opened:
            self._lower_again(now)
        if not self._read_leases:
            self._read()
        self._reset_left(now)
        self._note_unavailable(now)

    def act(self, wants: Mapping[str, Want], now: float) -> None:
        """Set the clocks that are wanted of the devices that ``look`` saw, and tell the board.

        Raises:
            RedisUnavailable: Redis does not answer; no clocks were lowered then.
        """
        on: dict[str, dict[str, Want | None]] = {gpu: {} for gpu in self._low}
        for status in self._own:
            if status.gpu and self._why_unavailable(status) is None:
                on.setdefault(status.gpu, {})[status.id] = wants.get(status.id)
        lower = []
        for gpu, wanted in on.items():
            state, self._reasons[gpu] = judged(wanted, self._foreign(gpu))
            if state == NORMAL and gpu in self._low:
                self._raise(gpu, now, self._reasons[gpu])
            elif state == LOW and gpu not in self._low | self._left and self._gpus.may_try(gpu, now):
                lower.append(gpu)
        self._tell_heir()
        self._end_leases()
        for gpu in lower:
            self._lower(gpu, now)
        self._write(now)

    def away(self, now: float) -> None:
        """Redis does not answer: clocks are given back when that lasts."""
        if now - self._looked_at >= AWAY_GRACE_S:
            self.give_back("Redis is away", now)
        self._tell_heir()

    def give_back(self, reason: str, now: float | None = None) -> None:
        """Reset what is low."""
        now = time.time() if now is None else now
        for gpu in sorted(self._low):
            self._raise(gpu, now, reason)
        self._reset_left(now)
        with contextlib.suppress(RedisUnavailable):
            self._end_leases()

    def close(self) -> None:
        """Give all back, and let the heir go."""
        self.give_back("the scheduler stops")
        self._tell_heir()
        if self._heir is not None:
            self._heir.close()
        self._gpus.close()

    # --- acting

    def _lower(self, gpu: str, now: float) -> None:
        self._leases.take(gpu, now)
        self._tell_heir(gpu)
        try:
            low = self._gpus.lower(gpu, now)
        except ClocksRefused as exc:
            self._over.add(gpu)
            self._say_once("clocks_not_lowered", gpu, exc.detail)
            return
        except GpuLost:
            # It may have been lowered: that is looked at when it is back.
            self._left.add(gpu)
            return
        self._low.add(gpu)
        self._since[gpu] = now
        reason = self._reasons[gpu]
        _log.info("clocks_lowered", gpu=gpu, sm_mhz=low.sm_mhz, memory_mhz=low.memory_mhz, reason=reason)

    def _lower_again(self, now: float) -> None:
        """Lock what is low once more: the driver may have forgotten it."""
        for gpu in sorted(self._low):
            try:
                self._gpus.lower(gpu, now)
            except (ClocksRefused, GpuLost):
                self._low.discard(gpu)
                self._left.add(gpu)

    def _raise(self, gpu: str, now: float, reason: str) -> None:
        if self._reset(gpu, now, reason):
            self._low.discard(gpu)

    def _reset(self, gpu: str, now: float, reason: str) -> bool:
        """Whether it was reset; its lease is over then, as soon as Redis can be told."""
        try:
            self._gpus.reset(gpu)
        except (ClocksRefused, GpuLost) as exc:
            self._say_once("clocks_not_given_back", gpu, exc.detail)
            return False
        self._over.add(gpu)
        self._since[gpu] = now
        self._reasons[gpu] = reason
        self._said = {(action, about) for action, about in self._said if about != gpu}
        _log.info("clocks_given_back", gpu=gpu, reason=reason)
        return True

    def _reset_left(self, now: float) -> None:
        for gpu in sorted(self._left & set(self._gpus.uuids)):
            if self._reset(gpu, now, "they were left low"):
                self._left.discard(gpu)

    def _reset_all(self, now: float, why: str) -> bool:
        self._gpus.look(now)
        if self._gpus.uuids:
            _log.warning("leases_unknown", reason=why, gpus=self._gpus.uuids)
        refused = [gpu for gpu in self._gpus.uuids if not self._reset(gpu, now, "they may have been left low")]
        return not refused

    def _read(self) -> None:
        self._left |= self._leases.all() - self._low
        self._read_leases = True

    def _end_leases(self) -> None:
        for gpu in sorted(self._over - self._low - self._left):
            self._leases.end(gpu)
        self._over.clear()

    def _tell_heir(self, *more: str) -> None:
        if self._heir is not None:
            self._heir.tell(self._low | set(more))
        self._told_s = time.monotonic()

    def _take_over_from_heir(self, now: float) -> None:
        """After a silence the heir has reset what was low; it is for the policy to want it low again."""
        if self._low and time.monotonic() - self._told_s >= PATIENCE_S:
            self.give_back("the scheduler was held up", now)

    # --- telling

    def _foreign(self, gpu: str) -> frozenset[int]:
        reading = self._gpus.readings.get(gpu)
        if reading is None or reading.pids is None:
            return frozenset()
        return self._contexts.foreign(reading.pids, [status for status in self._own if status.gpu == gpu])

    def _note_unavailable(self, now: float) -> None:
        for status in self._own:
            reason = self._why_unavailable(status)
            if reason is None:
                self._unavailable_since.pop(status.id, None)
            else:
                self._unavailable_since.setdefault(status.id, now)
                self._say_once("clocks_unavailable", status.id, reason)

    def _contexts_left(self, status: DeviceStatus, now: float) -> tuple[int, ...]:
        """Processes of a device that has left its GPU which are still there."""
        reading = self._gpus.readings.get(status.gpu or "")
        if reading is None or reading.pids is None:
            return ()
        left = self._contexts.left_by(status, reading.pids, now)
        if left:
            reason = f"process {', '.join(map(str, left))} still holds a context on its GPU"
            self._say_once("context_left", status.id, reason)
        return left

    def _say_once(self, action: str, about: str, reason: str) -> None:
        """Log it, unless that was done for this GPU or device since it last was well."""
        if (action, about) in self._said:
            return
        self._said.add((action, about))
        about_what = "device" if "/" in about else "gpu"
        tell = {"clocks_unavailable": _log.info, "clocks_not_lowered": _log.warning}.get(action, _log.error)
        tell(action, reason=reason, **{about_what: about})

    def _write(self, now: float) -> None:
        reports = {status.id: self._report(status, now) for status in self._own}
        known = {device: (report.state, report.since, report.context_left) for device, report in reports.items()}
        written_at, written = self._written
        due = not 0 <= now - written_at < WRITE_EVERY_S
        if known == written and not due:
            return
        self._board.write(self._machine, reports)
        self._written = now, known
        if due and self._low:
            # `--give-back` by hand, or a Redis that came back empty.
            for gpu in sorted(self._low - self._leases.all()):
                self._raise(gpu, now, "somebody ended its lease")

    def _report(self, status: DeviceStatus, now: float) -> ClocksReport:
        view, reading = self._view(status), self._gpus.readings.get(status.gpu or "")
        told = ClocksReport(
            state=view.state,
            since=view.since or None,
            reason=view.reason,
            gpu=status.gpu,
            context_left=self._contexts_left(status, now),
        )
        if reading is None:
            return told
        return dataclasses.replace(
            told,
            sm_clock_mhz=reading.sm_clock_mhz,
            memory_clock_mhz=reading.memory_clock_mhz,
            power_w=reading.power_w,
            temperature_c=reading.temperature_c,
            utilization_percent=reading.utilization_percent,
            memory_used_bytes=reading.memory_used_bytes,
        )


def give_back(client: redis.Redis, settings: Settings) -> bool:
    """Reset what a scheduler of this host left low, or all GPUs if Redis is away; whether nothing is low any more."""
    keeper = ClockKeeper(client, settings)
    try:
        return keeper.start(time.time())
    finally:
        keeper.close()
