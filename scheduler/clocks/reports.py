"""What the keeper of clocks reports: events, each once while a problem lasts, and the board in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scheduler.plan import Clocks
from stentor import log
from stentor.devices.clocks import ClocksBoard, ClocksReport
from stentor.devices.nvml import Reading
from stentor.devices.registry import DeviceStatus

_log = log.get(__name__)

#: How often the board is written while nothing changes, in seconds.
WRITE_EVERY_S: Final = 5.0
#: Values of a reading that a report repeats.
_MEASURED: Final = (
    "power_w",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "utilization_percent",
    "memory_used_bytes",
)


class OnceLogger:
    """Logs each problem of a GPU or device once, until it is over."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def log(self, action: str, about: str, reason: str) -> None:
        """Log the problem, unless it was logged since this GPU or device was last well."""
        if (action, about) in self._logged:
            return
        self._logged.add((action, about))
        kind = "device" if "/" in about else "gpu"
        write = {"clocks_unavailable": _log.info, "clocks_not_lowered": _log.warning}.get(action, _log.error)
        write(action, reason=reason, **{kind: about})

    def forget(self, about: str) -> None:
        """It is well again: log its next problem."""
        self._logged = {(action, other) for action, other in self._logged if other != about}


class BoardWriter:
    """Writes the reports of one host's devices: when a state changes, and every ``WRITE_EVERY_S``."""

    def __init__(self, board: ClocksBoard, machine: str) -> None:
        self._board = board
        self._machine = machine
        self._written: tuple[float, object] = (float("-inf"), None)

    def write(self, reports: Mapping[str, ClocksReport], now: float) -> bool:
        """Write the reports if that is due; whether the regular write was.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        states = {device: (report.state, report.since, report.context_left) for device, report in reports.items()}
        written_at, written = self._written
        due = not 0 <= now - written_at < WRITE_EVERY_S
        if states != written or due:
            self._board.write(self._machine, reports)
            self._written = now, states
        return due


def clocks_report(
    status: DeviceStatus, clocks: Clocks, reading: Reading | None, context_left: tuple[int, ...]
) -> ClocksReport:
    """What the board says of one device."""
    measured = {} if reading is None else {name: getattr(reading, name) for name in _MEASURED}
    return ClocksReport(
        state=clocks.state,
        since=clocks.since or None,
        reason=clocks.reason,
        gpu=status.gpu,
        context_left=context_left,
        **measured,
    )
