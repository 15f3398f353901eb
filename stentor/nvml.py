"""NVML: what the driver tells of the GPUs of this machine, and the clocks that it lets a privileged process set."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What NVML told of one GPU at one moment; None for what it does not know there."""

    uuid: str
    index: int
    name: str
    #: Since the driver was loaded, in joules.
    energy_j: float | None
    power_w: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    #: 0..100.
    utilization_percent: int | None
    #: Processes that have a context on it, as the machine numbers them; None where NVML does not tell.
    pids: frozenset[int] | None
