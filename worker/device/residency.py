"""Residency: which models are on the device of this process; it loads them and makes room for them."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable

from stentor import log
from stentor.devices.nvml import uuid_of, visible_gpu
from stentor.errors import EngineFailed, ModelUnavailable
from stentor.settings import Settings
from worker.device.warmup import warm_up
from worker.engines.contract import Engine
from worker.engines.discovery import find_engines
from worker.process.guard import resident_bytes
from worker.process.heap import return_freed_memory

_log = log.get(__name__)

BYTES_PER_GB = 1_000_000_000
#: After this number of failed loads a model is left to other devices until this process is replaced.
MAX_FAILURES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """When a model was loaded, and how long that took."""

    #: Seconds since the epoch.
    at: float
    took_s: float


class Residency:
    """The engines of one device. To free all of its memory, the process has to end."""

    def __init__(
        self,
        settings: Settings,
        device: str,
        *,
        resident: Callable[[], int] = resident_bytes,
        on_change: Callable[[Residency], None] = lambda _: None,
        before_first_load: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called when a model was loaded or unloaded, and when loading one begins and ends."""
        self.memory_limit_bytes = round(settings.device_memory_gb * BYTES_PER_GB) if settings.device_memory_gb else None
        #: The GPU's UUID; None without a GPU, or if NVML does not report it.
        self.gpu = _gpu_uuid(device)
        self._device = _pin(device)
        self._default = settings.default_voice.partition(":")[0]
        self._resident_bytes = resident
        self._on_change = on_change
        self._before_first_load = before_first_load
        self.engines = find_engines(settings)
        self._failures: Counter[str] = Counter()
        #: The model that was used last comes last.
        self._resident: dict[str, Engine] = {}
        self._loaded: dict[str, Loaded] = {}
        #: Since when a model is being loaded, in seconds since the epoch; None while no model is.
        self.loading_at: float | None = None
        #: Whether this process is as light as possible: no model, and no library that models need.
        self.light = True

    @property
    def models(self) -> tuple[str, ...]:
        """Models that can be loaded here."""
        return tuple(sorted(model for model in self.engines if self._failures[model] < MAX_FAILURES))

    @property
    def out(self) -> bool:
        """Whether all models of this device have failed too often, so that it should leave all work to others."""
        return bool(self.engines) and not self.models

    @property
    def failing(self) -> bool:
        """Whether a model could not be loaded at the last attempt."""
        return bool(self._failures)

    def forgive(self) -> None:
        """Try all models again, by order of a person or of the scheduler."""
        self._failures.clear()

    @property
    def resident(self) -> tuple[str, ...]:
        """Models that are on the device, the last used one first."""
        return tuple(reversed(self._resident))

    def load_record(self, model: str | None) -> Loaded | None:
        """When a model was loaded; None if it is not on the device."""
        return self._loaded[model] if model in self._resident else None

    @property
    def preferred(self) -> str | None:
        """The model to load before any text needs one."""
        return self._default if self._default in self.models else next(iter(self.models), None)

    def engine(self, model: str) -> Engine:
        """The engine of that model; the model is loaded if it is not on the device yet.

        Raises:
            ModelUnavailable: no engine here has the model.
            EngineFailed: the model cannot be loaded.
        """
        if model not in self.engines:
            raise ModelUnavailable(f"No engine on this device has model {model!r}. Models: {', '.join(self.models)}.")
        if model not in self._resident:
            self._make_room(self.engines[model])
            self.loading_at = time.time()
            self._on_change(self)
            try:
                self._load(model, self.engines[model])
            finally:
                self.loading_at = None
                self._on_change(self)
        self._resident[model] = self._resident.pop(model)
        return self._resident[model]

    def has_room(self, model: str) -> bool:
        """Whether that model is on the device, or fits next to the models that are."""
        return model in self._resident or self._fits(self.engines[model])

    def _fits(self, engine: Engine) -> bool:
        limit = self.memory_limit_bytes
        return not self._resident or limit is None or engine.info.memory_bytes + self._taken_bytes() <= limit

    def _make_room(self, engine: Engine) -> None:
        """Unload models, the longest unused one first, until this one fits under the memory limit."""
        while not self._fits(engine):
            oldest = next(iter(self._resident))
            self._resident.pop(oldest).unload()
            return_freed_memory()
            _log.info("model_unloaded", model=oldest, device=self._device, reason="room for another")
            self._on_change(self)

    def _taken_bytes(self) -> int:
        return sum(engine.info.memory_bytes for engine in self._resident.values())

    def _load(self, model: str, engine: Engine) -> None:
        started = time.monotonic()
        if self.light:
            self._before_first_load()
        self.light = False
        try:
            engine.load(self._device, self.memory_limit_bytes)
            if self._device != "cpu":
                warm_up(engine)
            return_freed_memory()
            self._check_resident()
        except Exception as exc:  # the door to engines: every failure there is EngineFailed
            self._failures[model] += 1
            engine.unload()
            raise EngineFailed(f"Model {model!r} cannot be loaded on {self._device}: {exc}") from exc
        del self._failures[model]
        self._resident[model] = engine
        took_s = round(time.monotonic() - started, 3)
        self._loaded[model] = Loaded(at=time.time(), took_s=took_s)
        _log.info("model_loaded", model=model, device=self._device, took_s=took_s)

    def _check_resident(self) -> None:
        """Refuse a model that is too large for the limit, which nothing else enforces on a CPU.

        A process that exceeds it before it speaks would be replaced for ever.
        """
        limit = self.memory_limit_bytes
        if limit is not None and self._device == "cpu" and (seen := self._resident_bytes()) > limit:
            raise EngineFailed(f"the process then holds {seen} bytes; STENTOR_DEVICE_MEMORY_GB allows {limit}.")


def _pin(device: str) -> str:
    """The device's name within this process: of several GPUs a process sees only its own.

    Must run before any CUDA library is loaded, because that reads ``CUDA_VISIBLE_DEVICES``.
    """
    if not device.startswith("cuda:"):
        return device
    # "-1" hides all GPUs: better no GPU than one that the variable's value excludes.
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpu(device, os.environ) or "-1"
    # So that CUDA numbers GPUs as NVML does.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    # With it, a context does not keep the clocks up: https://www.nvidia.com/en-us/drivers/details/257493/.
    # Drivers before 580.105.08 ignore it.
    os.environ.setdefault("CUDA_DISABLE_PERF_BOOST", "1")
    return "cuda:0"


def _gpu_uuid(device: str) -> str | None:
    gpu = visible_gpu(device, os.environ) if device.startswith("cuda:") else None
    return uuid_of(gpu) if gpu is not None else None
