"""The owners of the contexts on a GPU: our devices, a device that should have left, or other software.

NVML reports the process ids of the machine. A device in a container reports the id inside the container. The kernel
shows both (``NSpid`` in ``/proc/<pid>/status``). A scheduler in its own container, without ``pid: host``, sees neither:
then it takes one context for each device that has a model.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from stentor.devices.registry import DeviceState, DeviceStatus, host_of
from stentor.doorbell import node_name

#: How many process ids of a device are remembered, to tell a new process from those before it.
REMEMBERED: Final = 16
#: How long a context may stay after its device was unloaded, in seconds: the process has to end first.
GOES_S: Final = 10.0


class Contexts:
    """Finds the owners of contexts by the process ids that devices reported."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._pids: dict[str, deque[int]] = {}
        #: Device -> since when a context of it stayed behind.
        self._left_since: dict[str, float] = {}

    def note(self, statuses: Iterable[DeviceStatus]) -> None:
        """Remember the process ids of these devices."""
        for status in statuses:
            pids = self._pids.setdefault(status.id, deque(maxlen=REMEMBERED))
            if status.pid not in pids:
                pids.append(status.pid)

    def foreign(self, pids: Iterable[int], devices: Sequence[DeviceStatus]) -> frozenset[int]:
        """Those of ``pids`` that belong to none of these devices, as far as that is known."""
        unknown = {pid for pid in pids if not any(self._belongs(pid, status) for status in devices)}
        hidden = {pid for pid in unknown if not (self._proc / str(pid)).exists()}
        seen = {status.id for status in devices for pid in pids if self._belongs(pid, status)}
        unseen = [
            one
            for one in devices
            if one.id not in seen and (one.model or one.state in {DeviceState.BUSY, DeviceState.STARTING})
        ]
        return frozenset(unknown - hidden if len(hidden) <= len(unseen) else unknown)

    def left_by(self, status: DeviceStatus, pids: Iterable[int], now: float) -> tuple[int, ...]:
        """Those of ``pids`` that this device left behind: it is unloaded, and they stay for longer than ``GOES_S``."""
        left = sorted(pid for pid in pids if self._belongs(pid, status)) if status.state == DeviceState.UNLOADED else []
        if not left:
            self._left_since.pop(status.id, None)
            return ()
        return tuple(left) if now - self._left_since.setdefault(status.id, now) > GOES_S else ()

    def _belongs(self, pid: int, status: DeviceStatus) -> bool:
        known = self._pids.get(status.id, ())
        if pid in known:
            return True
        return self._inner(pid) in known and self._has_node_name(pid, status)

    def _inner(self, pid: int) -> int | None:
        """The id of a process inside its container; None without a container, or if the process is not visible."""
        for line in self._proc_text(pid, "status").splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return int(numbers[-1]) if len(numbers) > 1 else None
        return None

    def _has_node_name(self, pid: int, status: DeviceStatus) -> bool:
        """Small ids repeat in each container, but the command line of Celery names the device."""
        device = status.id.partition("/")[2]
        return node_name(device, host_of(status.id)) in self._proc_text(pid, "cmdline")

    def _proc_text(self, pid: int, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self._proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
        return ""
