"""NVML: readings of this machine's GPUs from the driver, and the clocks that a privileged process may set.

NVIDIA's own binding is imported when NVML is opened: most machines that run an API neither have nor need a driver.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stentor.errors import ClocksRefused, GpuLost, NvmlUnavailable

#: Prefix of the UUID of a slice of a GPU.
MIG_PREFIX: Final = "MIG-"
#: nvmlReturn_t after which a GPU answers nothing until NVML is opened again: uninitialized, driver not loaded, GPU is
#: lost, reset required, GPU not found.
_LOST: Final = frozenset({1, 9, 15, 16, 28})
#: nvmlReturn_t for functions that the hardware or an old driver does not have.
_CANNOT: Final = frozenset({3, 13})
#: nvmlReturn_t that the next attempt will get, too: those, and missing permission.
_FOR_GOOD: Final = _CANNOT | {4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """NVML's values for one GPU at one moment; None for values that this GPU does not report."""

    uuid: str
    index: int
    name: str
    #: Energy since the driver was loaded, in joules.
    energy_j: float | None
    power_w: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    #: 0..100.
    utilization_percent: int | None
    #: Processes with a context on it, by the machine's process ids; None where NVML does not report them.
    pids: frozenset[int] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowClocks:
    """The clocks that a GPU is locked to; None if its memory clock cannot be locked."""

    sm_mhz: int
    memory_mhz: int | None


class Nvml:
    """An open NVML. Not safe for threads.

    While it is open, the driver stays loaded and keeps the clocks that were set. Without a client and without
    persistence mode the driver forgets them.
    """

    def __init__(self, binding: Any) -> None:
        self._nvml = binding
        #: UUID -> handle of the GPUs that answer.
        self._handles: dict[str, Any] = {}
        self._fixed: dict[str, tuple[int, str]] = {}
        #: GPUs that never answered, by index, and GPUs that no longer answer, by UUID.
        self.lost: set[int | str] = set()
        for index in range(binding.nvmlDeviceGetCount()):
            self._find(index)

    @classmethod
    def open(cls) -> Nvml:
        """The NVML of this machine.

        Raises:
            NvmlUnavailable: nvidia-ml-py or the driver's library is missing, or the driver does not answer.
        """
        try:
            import pynvml  # noqa: PLC0415 - only where there may be a GPU
        except ImportError as exc:
            raise NvmlUnavailable("nvidia-ml-py is not installed.") from exc
        try:
            pynvml.nvmlInit()
            return cls(pynvml)
        except pynvml.NVMLError as exc:
            raise NvmlUnavailable(f"NVML does not answer: {exc}") from exc

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _find(self, index: int) -> None:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError:
            self.lost.add(index)
            return
        self._handles[uuid] = handle
        self._fixed[uuid] = index, self._or_none(uuid, self._nvml.nvmlDeviceGetName, handle) or "GPU"

    @property
    def uuids(self) -> tuple[str, ...]:
        """The GPUs that answer, in the driver's order, which is their order on the bus."""
        return tuple(self._handles)

    @property
    def indices(self) -> Mapping[int, str]:
        """The driver's number -> UUID of the GPUs that answer."""
        return {index: uuid for uuid, (index, _) in self._fixed.items() if uuid in self._handles}

    def readings(self) -> dict[str, Reading]:
        """Readings of all GPUs that answer now."""
        found = {}
        for uuid in self.uuids:
            with contextlib.suppress(GpuLost):
                found[uuid] = self.reading(uuid)
        return found

    def reading(self, uuid: str) -> Reading:
        """The reading of one GPU.

        Raises:
            GpuLost: it no longer answers.
        """
        nvml, handle = self._nvml, self._handle(uuid)
        index, name = self._fixed[uuid]
        energy_mj = self._or_none(uuid, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        power_mw = self._or_none(uuid, nvml.nvmlDeviceGetPowerUsage, handle)
        memory = self._or_none(uuid, nvml.nvmlDeviceGetMemoryInfo, handle)
        utilization = self._or_none(uuid, nvml.nvmlDeviceGetUtilizationRates, handle)
        found = Reading(
            uuid=uuid,
            index=index,
            name=name,
            energy_j=None if energy_mj is None else energy_mj / 1000,
            power_w=None if power_mw is None else power_mw / 1000,
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            sm_clock_mhz=self._or_none(uuid, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._or_none(uuid, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            temperature_c=self._temperature_c(uuid, handle),
            utilization_percent=None if utilization is None else int(utilization.gpu),
            pids=self._pids(uuid, handle),
        )
        self._handle(uuid)
        return found

    def _temperature_c(self, uuid: str, handle: Any) -> int | None:
        """The temperature: CUDA 14 drivers will not have the older function, and older drivers lack the newer one."""
        nvml = self._nvml
        for ask in (nvml.nvmlDeviceGetTemperatureV, nvml.nvmlDeviceGetTemperature):
            found = self._or_none(uuid, ask, handle, nvml.NVML_TEMPERATURE_GPU)
            if found is not None:
                return int(found)
        return None

    def _pids(self, uuid: str, handle: Any) -> frozenset[int] | None:
        compute = self._or_none(uuid, self._nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        graphics = self._or_none(uuid, self._nvml.nvmlDeviceGetGraphicsRunningProcesses, handle)
        return None if compute is None else frozenset(int(found.pid) for found in [*compute, *(graphics or [])])

    def in_slices(self, uuid: str) -> bool:
        """Whether its MIG mode is on. Then one tenant may not set its clocks."""
        modes = self._or_none(uuid, self._nvml.nvmlDeviceGetMigMode, self._handle(uuid))
        return modes is not None and modes[0] == self._nvml.NVML_DEVICE_MIG_ENABLE

    def set_low(self, uuid: str) -> LowClocks:
        """Lock its clocks to the lowest that it supports: those of the SMs and, if possible, of the memory.

        Raises:
            ClocksRefused: the driver refused; nothing has changed.
            GpuLost: it no longer answers.
        """
        nvml, handle = self._nvml, self._handle(uuid)
        with self._refusals(uuid):
            memory_mhz = min(nvml.nvmlDeviceGetSupportedMemoryClocks(handle))
            sm_mhz = min(nvml.nvmlDeviceGetSupportedGraphicsClocks(handle, memory_mhz))
            nvml.nvmlDeviceSetGpuLockedClocks(handle, sm_mhz, sm_mhz)
        try:
            nvml.nvmlDeviceSetMemoryLockedClocks(handle, memory_mhz, memory_mhz)
        except nvml.NVMLError:
            # Only some GPUs can (https://docs.nvidia.com/deploy/nvml-api: Ampere or newer). The SMs matter most.
            return LowClocks(sm_mhz=sm_mhz, memory_mhz=None)
        return LowClocks(sm_mhz=sm_mhz, memory_mhz=memory_mhz)

    def reset(self, uuid: str) -> None:
        """Let the driver choose its clocks again.

        Raises:
            ClocksRefused: the driver refused.
            GpuLost: it no longer answers.
        """
        with self._refusals(uuid):
            self._nvml.nvmlDeviceResetGpuLockedClocks(self._handle(uuid))
            try:
                self._nvml.nvmlDeviceResetMemoryLockedClocks(self._handle(uuid))
            except self._nvml.NVMLError as exc:
                if exc.value not in _CANNOT:
                    raise

    def _handle(self, uuid: str) -> Any:
        if uuid not in self._handles:
            raise GpuLost(f"GPU {uuid} does not answer.")
        return self._handles[uuid]

    def _or_none(self, uuid: str, ask: Callable[..., Any], *arguments: Any) -> Any:
        """One value, or None if it is unavailable. A lost GPU is dropped."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError as exc:
            self._note(uuid, exc.value)
            return None

    @contextlib.contextmanager
    def _refusals(self, uuid: str) -> Iterator[None]:
        try:
            yield
        except self._nvml.NVMLError as exc:
            self._note(uuid, exc.value)
            self._handle(uuid)
            raise ClocksRefused(
                f"The driver refused to set the clocks of {uuid}: {exc}", for_good=exc.value in _FOR_GOOD
            ) from exc

    def _note(self, uuid: str, error: int) -> None:
        if error in _LOST and uuid in self._handles:
            del self._handles[uuid]
            self.lost.add(uuid)


def visible_gpu(device: str, environ: Mapping[str, str]) -> str | None:
    """The GPU of ``cuda:<n>``: its number or UUID in ``CUDA_VISIBLE_DEVICES``, or ``n`` if that is not set.

    None if the list has no such entry. As in CUDA, entries after an invalid one do not count.
    """
    number = int(device.partition(":")[2])
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return str(number)
    entries = list(itertools.takewhile(_is_entry, (entry.strip() for entry in listed.split(","))))
    return entries[number] if number < len(entries) else None


def _is_entry(entry: str) -> bool:
    return entry.isdecimal() or entry.startswith(("GPU-", MIG_PREFIX))


def uuid_of(gpu: str) -> str | None:
    """The UUID of a GPU, given its number on the bus or the start of its UUID; None if NVML does not know it.

    Needs no privileges, and does not keep NVML open.
    """
    if gpu.startswith(MIG_PREFIX):
        return gpu
    try:
        nvml = Nvml.open()
    except NvmlUnavailable:
        return None
    with contextlib.closing(nvml):
        if gpu.isdecimal():
            return nvml.indices.get(int(gpu))
        return next((uuid for uuid in nvml.uuids if uuid.startswith(gpu)), None)
