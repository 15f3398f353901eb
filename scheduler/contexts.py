"""Whose the contexts on a GPU are: of our devices, of a device that should have left, or of somebody else.

NVML numbers processes as the machine does. A device in a container tells the number that it has in there; the kernel
tells both to whoever sees the process (``NSpid`` in ``/proc/<pid>/status``). A scheduler in a container of its own,
without ``pid: host``, sees neither: then as many contexts as there are devices with a model are taken for theirs.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from stentor.devices.registry import BUSY, STARTING, UNLOADED, DeviceStatus, host_of
from stentor.doorbell import node_name

#: Processes of a device that are remembered: one that replaced another may have to be told from it.
REMEMBERED: Final = 16
#: A context may stay so long after its device was unloaded, in seconds: the process has to end first.
GOES_S: Final = 10.0


class Contexts:
    """Tells contexts apart by the processes that devices reported."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._pids: dict[str, deque[int]] = {}
        #: Device -> since when a context of it is left.
        self._left_since: dict[str, float] = {}

    def note(self, statuses: Iterable[DeviceStatus]) -> None:
        """Remember these devices' processes."""
        for status in statuses:
            pids = self._pids.setdefault(status.id, deque(maxlen=REMEMBERED))
            if status.pid not in pids:
                pids.append(status.pid)

    def foreign(self, pids: Iterable[int], devices: Sequence[DeviceStatus]) -> frozenset[int]:
        """Those of ``pids`` that are no process of these devices, as far as can be told."""
        unknown = {pid for pid in pids if not any(self._is(pid, status) for status in devices)}
        hidden = {pid for pid in unknown if not (self._proc / str(pid)).exists()}
        seen = {status.id for status in devices for pid in pids if self._is(pid, status)}
        unseen = [one for one in devices if one.id not in seen and (one.model or one.state in {BUSY, STARTING})]
        return frozenset(unknown - hidden if len(hidden) <= len(unseen) else unknown)

    def left_by(self, status: DeviceStatus, pids: Iterable[int], now: float) -> tuple[int, ...]:
        """Those of ``pids`` that this device has left behind: it is unloaded, and they have been there for too long."""
        left = sorted(pid for pid in pids if self._is(pid, status)) if status.state == UNLOADED else []
        if not left:
            self._left_since.pop(status.id, None)
            return ()
        return tuple(left) if now - self._left_since.setdefault(status.id, now) > GOES_S else ()

    def _is(self, pid: int, status: DeviceStatus) -> bool:
        known = self._pids.get(status.id, ())
        if pid in known:
            return True
        return self._inner(pid) in known and self._is_named(pid, status)

    def _inner(self, pid: int) -> int | None:
        """The number of a process in its own container; None if it is in none, or is not seen."""
        for line in self._read(pid, "status").splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return int(numbers[-1]) if len(numbers) > 1 else None
        return None

    def _is_named(self, pid: int, status: DeviceStatus) -> bool:
        """Small numbers repeat from container to container; Celery's command line names the device."""
        device = status.id.partition("/")[2]
        return node_name(device, host_of(status.id)) in self._read(pid, "cmdline")

    def _read(self, pid: int, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self._proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
        return ""
