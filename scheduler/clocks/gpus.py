"""The GPUs of this host through NVML: opened when they are first needed, and again when one was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from stentor import log
from stentor.devices.nvml import LowClocks, Nvml, Reading
from stentor.errors import ClocksRefused, GpuLost, NvmlUnavailable

_log = log.get(__name__)

#: How often NVML is opened again while it is missing or has lost a GPU, in seconds. With several GPUs that may take a
#: second, and one that fell off the bus seldom comes back without a person.
OPEN_AGAIN_S: Final = 30.0
#: How soon clocks are lowered again after the driver would not, in seconds.
LOWER_AGAIN_S: Final = 60.0


class Gpus:
    """NVML, with one reading of each GPU per tick."""

    def __init__(self, open_nvml: Callable[[], Nvml] = Nvml.open) -> None:
        self._open_nvml = open_nvml
        self._nvml: Nvml | None = None
        self._open_at = float("-inf")
        self._lost: frozenset[int | str] = frozenset()
        #: Why there is no NVML.
        self._missing = "NVML was not asked yet"
        #: GPU -> why its clocks can never be set; GPU -> when they may be tried again.
        self._refused: dict[str, str] = {}
        self._not_before: dict[str, float] = {}
        self.readings: Mapping[str, Reading] = {}

    def look(self, now: float) -> bool:
        """Read all GPUs anew; whether NVML was opened for it. ``now`` is seconds since the epoch.

        Without persistence mode the driver forgets between two openings what it was told of a GPU that nobody uses.
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
        """Those that answer."""
        return () if self._nvml is None else self._nvml.uuids

    def unavailable(self, gpu: str) -> str | None:
        """Why the clocks of a GPU cannot be set; None if they can, as far as is known."""
        if self._nvml is None:
            return self._missing
        if gpu not in self._nvml.uuids:
            return "the GPU does not answer"
        if gpu in self._refused:
            return self._refused[gpu]
        return self._in_slices(self._nvml, gpu)

    def _in_slices(self, nvml: Nvml, gpu: str) -> str | None:
        try:
            return "the GPU is cut into slices (MIG), and its clocks are everybody's" if nvml.in_slices(gpu) else None
        except GpuLost as exc:
            return exc.detail

    def may_try(self, gpu: str, now: float) -> bool:
        """Whether its clocks can be lowered now: the driver may just have refused it."""
        return now >= self._not_before.get(gpu, now)

    def lower(self, gpu: str, now: float) -> LowClocks:
        """Lock a GPU's clocks to the lowest.

        Raises:
            ClocksRefused: the driver does not do it; nothing has changed then.
            GpuLost: it does not answer any more.
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
            ClocksRefused: the driver does not do it.
            GpuLost: it does not answer.
        """
        self._open_one(gpu).reset(gpu)

    def _open_one(self, gpu: str) -> Nvml:
        if self._nvml is None:
            raise GpuLost(f"the GPU {gpu} cannot be reached: {self._missing}")
        return self._nvml

    def close(self) -> None:
        """Let go of NVML."""
        if self._nvml is not None:
            self._nvml.close()
        self._nvml = None
