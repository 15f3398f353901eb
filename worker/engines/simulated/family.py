"""The simulated GPU that ``STENTOR_SIMULATED`` names; none is offered unless it does."""

from __future__ import annotations

from stentor.errors import SettingInvalid
from stentor.settings import Settings
from worker.engines.contract import Engine
from worker.engines.simulated.engine import SimulatedEngine
from worker.engines.simulated.gpus import GPUS


class SimulatedFamily:
    """At most one simulated GPU."""

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.simulated

    def engines(self) -> dict[str, Engine]:
        """The engine of the GPU asked for, by model name (``simulated-l4``); nothing when none is.

        Raises:
            SettingInvalid: no GPU of that name can be simulated, or its clock would stand still.
        """
        if self._wanted is None:
            return {}
        name, _, scale = self._wanted.partition("*")
        times = float(scale) if scale else 1.0
        if name not in GPUS or times <= 0:
            raise SettingInvalid(
                f"STENTOR_SIMULATED is {self._wanted!r}. Allowed: one of {', '.join(sorted(GPUS))}, "
                "and if its clock is to run faster, * and how many times"
            )
        engine = SimulatedEngine(GPUS[name], scale=times)
        return {engine.model: engine}
