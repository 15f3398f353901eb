"""The GPUs of this host through NVML: NVML is opened when first needed, and again when a GPU was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from stentor import log
from stentor.devices.nvml import LowClocks, Nvml, Reading
from stentor.errors import ClocksRefused, GpuLost, NvmlUnavailable

_log = log.get(__name__)

#: How often NVML is opened again while it is missing or has lost a GPU, in seconds. With several GPUs that can take a
#: second, and a GPU that fell off the bus rarely comes back without a person.
OPEN_AGAIN_S: Final = 30.0
#: Pause before clocks are lowered again after the driver refused, in seconds.
LOWER_AGAIN_S: Final = 60.0


class Gpus:
    """NVML, with one reading of each GPU per tick."""

    def __init__(self, open_nvml: Callable[[], Nvml] = Nvml.open) -> None:
        self._open_nvml = open_nvml
        self._nvml: Nvml | None = None
        self._open_at = float("-inf")
        self._lost: frozenset[int | str] = frozenset()
        #: Why NVML is missing.
        self._missing = "NVML was not opened yet"
        #: GPU -> why its clocks can never be set; GPU -> when to try again.
        self._refused: dict[str, str] = {}
        self._not_before: dict[str, float] = {}
        self.readings: Mapping[str, Reading] = {}

    def look(self, now: float) -> bool:
        """Read all GPUs; whether NVML was opened for this. ``now`` is seconds since the epoch.

        Without persistence mode, the driver forgets the settings of an unused GPU between two openings.
        """
        opens = (self._nvml is None or bool(self._nvml.lost)) and not 0 <= now - self._open_at < OPEN_AGAIN_S
        if opens:
            self._open(now)
        self.readings = {} if self._nvml is None else self._nvml.readings()
        lost = frozenset() if self._nvml is None else frozenset(self._nvml.lost)
        if lost - self._lost:
            _log.error("gpu_lost", gpus=sorted(map(str, lost)), again_s=OPEN_AGAIN_S)
        self._lost = lost
        return opens

    def _open(self, now: float) -> None:
        self.close()
        self._open_at = now
        try:
            self._nvml = self._open_nvml()
        except NvmlUnavailable as exc:
            if exc.detail != self._missing:
                _log.warning("nvml_unavailable", reason=exc.detail)
            self._missing = exc.detail
        else:
            self._refused.clear()
            self._missing = ""

    @property
    def uuids(self) -> tuple[str, ...]:
        """The GPUs that answer."""
        return () if self._nvml is None else self._nvml.uuids

    def unavailable(self, gpu: str) -> str | None:
        """Why the clocks of a GPU cannot be set; None if nothing is known against it."""
        if self._nvml is None:
            return self._missing
        if gpu not in self._nvml.uuids:
            return "the GPU does not answer"
        if gpu in self._refused:
            return self._refused[gpu]
        return self._slice_reason(self._nvml, gpu)

    def _slice_reason(self, nvml: Nvml, gpu: str) -> str | None:
        try:
            return "the GPU is divided into slices (MIG), which share its clocks" if nvml.in_slices(gpu) else None
        except GpuLost as exc:
            return exc.detail

    def may_try(self, gpu: str, now: float) -> bool:
        """Whether to try to lower its clocks now: not shortly after the driver refused."""
        return now >= self._not_before.get(gpu, now)

    def lower(self, gpu: str, now: float) -> LowClocks:
        """Lock a GPU's clocks at the lowest supported value.

        Raises:
            ClocksRefused: the driver refuses; nothing has changed.
            GpuLost: the GPU does not answer any more.
        """
        try:
            return self._open_one(gpu).set_low(gpu)
        except ClocksRefused as exc:
            if exc.for_good:
                self._refused[gpu] = exc.detail
            else:
                self._not_before[gpu] = now + LOWER_AGAIN_S
            raise

    def reset(self, gpu: str) -> None:
        """Let the driver choose a GPU's clocks again.

        Raises:
            ClocksRefused: the driver refuses.
            GpuLost: the GPU does not answer.
        """
        self._open_one(gpu).reset(gpu)

    def _open_one(self, gpu: str) -> Nvml:
        if self._nvml is None:
            raise GpuLost(f"Cannot reach the GPU {gpu}: {self._missing}")
        return self._nvml

    def close(self) -> None:
        """Close NVML."""
        if self._nvml is not None:
            self._nvml.close()
        self._nvml = None
