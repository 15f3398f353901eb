"""Residency: which models are on the device of this process, and bringing one there."""

from __future__ import annotations

import os
import time

from stentor import log
from stentor.errors import EngineFailed, ModelUnavailable
from stentor.settings import Settings
from worker.discovery import find_engines
from worker.engines.contract import Engine

_log = log.get(__name__)

BYTES_PER_GB = 1_000_000_000


class Residency:
    """The engines of one device. Leaving it is the end of the process, so that all of its memory goes with it."""

    def __init__(self, settings: Settings, device: str) -> None:
        self._memory_limit_bytes = (
            round(settings.device_memory_gb * BYTES_PER_GB) if settings.device_memory_gb else None
        )
        self._device = _pin(device)
        self._default = settings.default_voice.partition(":")[0]
        self.engines = find_engines(settings)
        self._resident: dict[str, Engine] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """Models that could be loaded here."""
        return tuple(sorted(self.engines))

    @property
    def resident(self) -> tuple[str, ...]:
        """Models that are on the device, the last loaded first."""
        return tuple(reversed(self._resident))

    @property
    def preferred(self) -> str | None:
        """The model to have on the device before anybody asks."""
        return self._default if self._default in self.engines else next(iter(self.models), None)

    def engine(self, model: str) -> Engine:
        """The engine of that model, on the device; it is loaded if it is not there yet.

        Raises:
            ModelUnavailable: no engine here has the model.
            EngineFailed: it has, but the model cannot be loaded.
        """
        if model not in self._resident:
            if model not in self.engines:
                raise ModelUnavailable(f"no engine on this device has model {model!r}; it has {', '.join(self.models)}")
            started = time.monotonic()
            engine = self.engines[model]
            try:
                engine.load(self._device, self._memory_limit_bytes)
            except Exception as exc:  # the door to engines: whatever goes wrong there has one name here
                raise EngineFailed(f"model {model!r} cannot be loaded on {self._device}: {exc}") from exc
            self._resident[model] = engine
            _log.info("model_loaded", model=model, device=self._device, took_s=round(time.monotonic() - started, 3))
        return self._resident[model]


def _pin(device: str) -> str:
    """The device's name within this process: of several GPUs a process sees only its own.

    Must come before any CUDA library is loaded, for that is when ``CUDA_VISIBLE_DEVICES`` is read.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return device
    os.environ["CUDA_VISIBLE_DEVICES"] = number
    return "cuda:0"
