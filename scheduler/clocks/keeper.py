"""The keeper of clocks: lowers the clocks of this host's GPUs when the policy asks for it, and always resets them.

Before it lowers clocks it writes a lease to Redis and informs its restorer. So the clocks are reset however this
process ends: by the keeper itself when it stops or when Redis is away, by the restorer when the keeper is killed, and
by the next scheduler when both are killed. It resets only what it lowered: clocks that an administrator locked stay
locked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Final

import redis

from scheduler.clocks.gpus import Gpus
from scheduler.clocks.leases import Leases
from scheduler.clocks.policy import gpu_clocks
from scheduler.clocks.reports import BoardWriter, OnceLogger, clocks_report
from scheduler.clocks.restorer import SILENCE_LIMIT_S, ClockRestorer
from scheduler.contexts import Contexts
from scheduler.plan import UNAVAILABLE, Clocks, Want
from stentor import log
from stentor.devices.clocks import ClocksBoard, ClocksReport
from stentor.devices.nvml import MIG_PREFIX, Reading
from stentor.devices.overrides import LOW, NORMAL
from stentor.devices.registry import DeviceStatus
from stentor.errors import ClocksRefused, GpuLost, RedisUnavailable
from stentor.settings import Settings

_log = log.get(__name__)

#: How long Redis may be away before clocks are reset, in seconds: without it, waiting work would not be seen.
AWAY_GRACE_S: Final = 3.0


class ClockKeeper:
    """One per host. A tick calls ``look`` and then ``act``, or ``away`` while Redis does not answer.

    ``now`` is seconds since the epoch everywhere.
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        *,
        restorer: ClockRestorer | None = None,
        gpus: Gpus | None = None,
    ) -> None:
        """Without a ``restorer``, clocks stay low after this process is killed, until the next one starts."""
        self._machine = settings.machine
        self._leases = Leases(client, settings.machine)
        self._board = BoardWriter(ClocksBoard(client), settings.machine)
        self._restorer = restorer
        self._gpus = gpus or Gpus()
        self._contexts = Contexts()
        self._own: list[DeviceStatus] = []
        #: Whether the leases of an earlier run were read.
        self._has_leases = False
        #: GPUs to reset: of an earlier run, or lost while they were low.
        self._left: set[str] = set()
        #: GPUs that were reset and whose lease is still in Redis.
        self._over: set[str] = set()
        #: GPUs that this process has lowered.
        self._low: set[str] = set()
        #: GPU -> when its clocks last changed, and why they are as they are.
        self._since: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        #: Device -> since when its clocks are unavailable.
        self._unavailable_since: dict[str, float] = {}
        self._problems = OnceLogger()
        self._looked_at = float("-inf")
        self._informed_s = time.monotonic()

    # --- what others read

    def views(self) -> Mapping[str, Clocks]:
        """The clocks of each device of this host, by id."""
        return {status.id: self._view(status) for status in self._own}

    def readings(self) -> Mapping[str, Reading]:
        """NVML's reading of each device's GPU in this tick, by id; devices on one GPU share a reading."""
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
            return "the device is not a GPU"
        if status.gpu is None:
            return "its process could not ask NVML which GPU it uses"
        if status.gpu.startswith(MIG_PREFIX):
            return "the device is a slice of a GPU (MIG), and all slices share its clocks"
        return self._gpus.unavailable(status.gpu)

    # --- ticks

    def start(self, now: float) -> bool:
        """Reset what an earlier run left low, before anything else; whether no GPU can be low any more.

        Without Redis it is unknown which GPUs those are, so all are reset.
        """
        try:
            self._read_leases()
        except RedisUnavailable as exc:
            return self._reset_all(now, exc.detail)
        if self._left:
            self._gpus.look(now)
            self._reset_leftovers(now)
        return not self._left

    def look(self, statuses: Sequence[DeviceStatus], now: float) -> None:
        """Note the devices of this host, and read their GPUs.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        self._looked_at = now
        self._own = [status for status in statuses if status.machine == self._machine]
        self._contexts.note(self._own)
        looks = bool(self._left) or any(status.gpu for status in self._own)
        opened = looks and self._gpus.look(now)
        self._take_over_from_restorer(now)
        for gpu in self._low - set(self._gpus.uuids):
            self._low.discard(gpu)
            self._left.add(gpu)
        if opened:
            self._lower_again(now)
        if not self._has_leases:
            self._read_leases()
        self._reset_leftovers(now)
        self._note_unavailable(now)

    def act(self, wants: Mapping[str, Want], now: float) -> None:
        """Set the clocks that the policy wants for the devices that ``look`` saw, and write the board.

        Raises:
            RedisUnavailable: Redis does not answer; no clocks were lowered then.
        """
        on: dict[str, dict[str, Want | None]] = {gpu: {} for gpu in self._low}
        for status in self._own:
            if status.gpu and self._why_unavailable(status) is None:
                on.setdefault(status.gpu, {})[status.id] = wants.get(status.id)
        lower = []
        for gpu, wanted in on.items():
            state, self._reasons[gpu] = gpu_clocks(wanted, self._foreign(gpu))
            if state == NORMAL and gpu in self._low:
                self._raise(gpu, now, self._reasons[gpu])
            elif state == LOW and gpu not in self._low | self._left and self._gpus.may_try(gpu, now):
                lower.append(gpu)
        self._inform_restorer()
        self._end_leases()
        for gpu in lower:
            self._lower(gpu, now)
        self._write_board(now)

    def away(self, now: float) -> None:
        """Redis does not answer: reset clocks if that lasts."""
        if now - self._looked_at >= AWAY_GRACE_S:
            self.give_back("Redis is away", now)
        self._inform_restorer()

    def give_back(self, reason: str, now: float | None = None) -> None:
        """Reset all GPUs that are low."""
        now = time.time() if now is None else now
        for gpu in sorted(self._low):
            self._raise(gpu, now, reason)
        self._reset_leftovers(now)
        with contextlib.suppress(RedisUnavailable):
            self._end_leases()

    def close(self) -> None:
        """Reset all GPUs that are low, and end the restorer."""
        self.give_back("the scheduler is stopping")
        self._inform_restorer()
        if self._restorer is not None:
            self._restorer.close()
        self._gpus.close()

    # --- acting

    def _lower(self, gpu: str, now: float) -> None:
        self._leases.take(gpu, now)
        self._inform_restorer(gpu)
        try:
            low = self._gpus.lower(gpu, now)
        except ClocksRefused as exc:
            self._over.add(gpu)
            self._problems.log("clocks_not_lowered", gpu, exc.detail)
            return
        except GpuLost:
            # It may have been lowered: check when it is back.
            self._left.add(gpu)
            return
        self._low.add(gpu)
        self._since[gpu] = now
        reason = self._reasons[gpu]
        _log.info("clocks_lowered", gpu=gpu, sm_mhz=low.sm_mhz, memory_mhz=low.memory_mhz, reason=reason)

    def _lower_again(self, now: float) -> None:
        """Lower again what is low: the driver may have forgotten it."""
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
        """Reset a GPU, and end its lease as soon as Redis answers; whether that worked."""
        try:
            self._gpus.reset(gpu)
        except (ClocksRefused, GpuLost) as exc:
            self._problems.log("clocks_not_given_back", gpu, exc.detail)
            return False
        self._over.add(gpu)
        self._since[gpu] = now
        self._reasons[gpu] = reason
        self._problems.forget(gpu)
        _log.info("clocks_given_back", gpu=gpu, reason=reason)
        return True

    def _reset_leftovers(self, now: float) -> None:
        for gpu in sorted(self._left & set(self._gpus.uuids)):
            if self._reset(gpu, now, "its clocks were left low"):
                self._left.discard(gpu)

    def _reset_all(self, now: float, why: str) -> bool:
        self._gpus.look(now)
        if self._gpus.uuids:
            _log.warning("leases_unknown", reason=why, gpus=self._gpus.uuids)
        refused = [gpu for gpu in self._gpus.uuids if not self._reset(gpu, now, "its clocks may have been left low")]
        return not refused

    def _read_leases(self) -> None:
        self._left |= self._leases.all() - self._low
        self._has_leases = True

    def _end_leases(self) -> None:
        for gpu in sorted(self._over - self._low - self._left):
            self._leases.end(gpu)
        self._over.clear()

    def _inform_restorer(self, *more: str) -> None:
        if self._restorer is not None:
            self._restorer.inform(self._low | set(more))
        self._informed_s = time.monotonic()

    def _take_over_from_restorer(self, now: float) -> None:
        """After a silence the restorer has reset what was low; the policy may lower it again."""
        if self._low and time.monotonic() - self._informed_s >= SILENCE_LIMIT_S:
            self.give_back("the scheduler was blocked", now)

    # --- reporting

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
                self._problems.log("clocks_unavailable", status.id, reason)

    def _contexts_left_by(self, status: DeviceStatus, now: float) -> tuple[int, ...]:
        """Processes of an unloaded device that are still on its GPU."""
        reading = self._gpus.readings.get(status.gpu or "")
        if reading is None or reading.pids is None:
            return ()
        left = self._contexts.left_by(status, reading.pids, now)
        if left:
            reason = f"process {', '.join(map(str, left))} still holds a context on its GPU"
            self._problems.log("context_left", status.id, reason)
        return left

    def _write_board(self, now: float) -> None:
        due = self._board.write({status.id: self._report(status, now) for status in self._own}, now)
        if due and self._low:
            # An operator ran `--give-back`, or Redis came back empty.
            for gpu in sorted(self._low - self._leases.all()):
                self._raise(gpu, now, "its lease was ended by another process")

    def _report(self, status: DeviceStatus, now: float) -> ClocksReport:
        reading = self._gpus.readings.get(status.gpu or "")
        return clocks_report(status, self._view(status), reading, self._contexts_left_by(status, now))


def give_back(client: redis.Redis, settings: Settings) -> bool:
    """Reset what a scheduler of this host left low, or all GPUs if Redis is away; whether no GPU is low any more."""
    keeper = ClockKeeper(client, settings)
    try:
        return keeper.start(time.time())
    finally:
        keeper.close()
