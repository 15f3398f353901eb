"""CPU, memory, disks and GPUs of this machine: a log line every minute, and values for the metrics."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import psutil

from stentor import log
from stentor.devices.nvml import Reading

_log = log.get(__name__)

#: Time between two ``system`` events, in seconds.
LOG_EVERY_S = 60.0
#: The values of a reading that are logged.
_GPU_FIELDS = (
    "uuid",
    "name",
    "memory_used_bytes",
    "power_w",
    "temperature_c",
    "utilization_percent",
    "sm_clock_mhz",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemSample:
    """The machine at one moment."""

    #: Share of all cores that was busy since the sample before, 0..1; None the first time.
    cpu_ratio: float | None
    #: Average number of processes that ran or were ready to run, over 1, 5 and 15 minutes.
    load: tuple[float, float, float]
    memory_used_bytes: int
    memory_total_bytes: int
    #: Of the file system of the working directory (``working``) and of that of temporary files (``temporary``).
    disk_free_bytes: Mapping[str, int]


class Host:
    """Samples of this machine. Each instance measures the CPU's share since its own last sample."""

    def __init__(self) -> None:
        self._busy_s, self._all_s = _cpu_s()

    def sample(self) -> SystemSample:
        """The machine now."""
        busy_s, all_s = _cpu_s()
        passed_s = all_s - self._all_s
        ratio = (busy_s - self._busy_s) / passed_s if passed_s > 0 else None
        self._busy_s, self._all_s = busy_s, all_s
        memory = psutil.virtual_memory()
        return SystemSample(
            cpu_ratio=None if ratio is None else min(max(ratio, 0.0), 1.0),
            load=psutil.getloadavg(),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_free_bytes={
                name: psutil.disk_usage(folder).free
                for name, folder in (("working", os.getcwd()), ("temporary", tempfile.gettempdir()))  # noqa: PTH109
            },
        )


class SystemLog:
    """The ``system`` event, once a minute."""

    def __init__(self) -> None:
        self._host = Host()
        self._logged_at = float("-inf")

    def due(self, now: float) -> bool:
        """Whether a minute has passed."""
        return now - self._logged_at >= LOG_EVERY_S

    def log(self, now: float, readings: Mapping[str, Reading]) -> None:
        """Log a sample; ``readings`` of this machine's devices by id."""
        self._logged_at = now
        found = self._host.sample()
        _log.info(
            "system",
            cpu_percent=None if found.cpu_ratio is None else round(100 * found.cpu_ratio, 1),
            load_1m=round(found.load[0], 2),
            load_5m=round(found.load[1], 2),
            load_15m=round(found.load[2], 2),
            memory_used_bytes=found.memory_used_bytes,
            memory_total_bytes=found.memory_total_bytes,
            disk_free_bytes=dict(found.disk_free_bytes),
            gpus=[gpu_fields(reading) for reading in by_gpu(readings.values())],
        )


def by_gpu(readings: Iterable[Reading]) -> list[Reading]:
    """One reading for each GPU, by index. Several devices may share a GPU."""
    return sorted({reading.uuid: reading for reading in readings}.values(), key=lambda reading: reading.index)


def gpu_fields(reading: Reading) -> dict[str, Any]:
    """What the event says about a GPU, without the values that NVML does not know."""
    values = {name: getattr(reading, name) for name in _GPU_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _cpu_s() -> tuple[float, float]:
    """Busy seconds of all cores together, and all their seconds, since the machine started."""
    times = psutil.cpu_times()
    # Linux counts guests as user time, too.
    all_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return all_s - times.idle - getattr(times, "iowait", 0.0), all_s
