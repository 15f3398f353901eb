"""The figures of devices in HTTP responses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.cost.figures import J_PER_KWH, S_PER_H, Figures, Prices
from api.cost.savings import Saved

#: Rounded to milliseconds or millijoules, which is finer than clocks and counters measure.
Rounded = Annotated[float, AfterValidator(lambda value: round(value, 3))]


class SecondsOut(BaseModel):
    """Seconds of device time by state."""

    busy: Rounded = Field(description="Running forward passes.")
    idle: Rounded = Field(description="Model loaded, nothing to speak, normal clocks.")
    idle_low: Rounded = Field(description="The same at low clocks.")
    unloaded: Rounded = Field(description="No model loaded, normal clocks.")
    unloaded_low: Rounded = Field(description="The same at low clocks.")
    starting: Rounded = Field(description="Loading a model, or failing to load it.")
    unknown: Rounded = Field(description="The scheduler was down, or a process ended during a pass.")


class JoulesOut(BaseModel):
    """Energy by state. `null`: no energy was measured, or it cannot be divided between states."""

    busy: Rounded | None
    idle: Rounded | None
    idle_low: Rounded | None
    unloaded: Rounded | None
    unloaded_low: Rounded | None
    starting: Rounded | None
    unknown: Rounded | None


class WattsOut(BaseModel):
    """Mean power of a device by state, measured over the period; `reasons` says why a value is `null`."""

    busy: Rounded | None
    idle: Rounded | None
    idle_low: Rounded | None
    unloaded: Rounded | None
    unloaded_low: Rounded | None
    starting: Rounded | None
    reasons: dict[str, str]


class EnergyOut(BaseModel):
    """Energy and its cost."""

    energy_j: Rounded | None
    kwh: float | None
    energy_money: float | None

    @classmethod
    def of(cls, energy_j: float | None, prices: Prices) -> EnergyOut:
        """This energy and its cost."""
        return cls(energy_j=energy_j, **_energy(energy_j, prices))


class SavedOut(EnergyOut):
    """What one measure saved; a negative value means that it cost more than it saved."""

    device_s: Rounded | None = Field(description="Device time that became free for other work.")
    device_money: float | None = Field(
        description="The price of that device time; saved only if the GPU did other work then."
    )
    reason: str = Field(description="Why a value is `null`, or which time it does not include.")

    @classmethod
    def of_trick(cls, saved: Saved, prices: Prices, gpu_share: float) -> SavedOut:
        """What the measure saved on devices that have this share of their GPUs."""
        known = saved.device_s is not None and prices.gpu_hour is not None
        return cls(
            energy_j=saved.energy_j,
            **_energy(saved.energy_j, prices),
            device_s=saved.device_s,
            device_money=(saved.device_s or 0.0) * gpu_share / S_PER_H * (prices.gpu_hour or 0.0) if known else None,
            reason=saved.reason,
        )


class SavingsOut(BaseModel):
    """What each measure saved, and all together: `always_on` minus the energy used. See `formulas`."""

    clocks: SavedOut
    unloading: SavedOut
    merging: SavedOut
    total: EnergyOut


class FiguresOut(EnergyOut):
    """What devices did, used and cost. An unknown value is `null`, and `reasons` says why."""

    device_s: Rounded = Field(description="Device time; the sum of `seconds`.")
    gpu_s: Rounded = Field(description="GPU time: devices on one GPU share its time and its price.")
    seconds: SecondsOut
    energy_s: Rounded = Field(description="Time for which energy was measured.")
    energy_from: Literal["counter", "samples", "both"] | None = Field(
        description="The energy counter of the GPU, or samples of its power."
    )
    energy_by_state_j: JoulesOut
    audio_s: Rounded
    audio_hours: float
    batches: int
    rows: int
    characters: int | None = Field(description="Submitted by all keys; only for all devices together.")
    j_per_audio_hour: Rounded | None
    j_per_million_characters: Rounded | None
    device_money: float | None
    money: float | None
    savings: SavingsOut
    always_on: EnergyOut
    reasons: dict[str, str]

    @classmethod
    def of_figures(cls, figures: Figures, prices: Prices) -> FiguresOut:
        """The figures at these prices."""
        return cls.model_validate(figures_out(figures, prices))


def _energy(energy_j: float | None, prices: Prices) -> dict[str, float | None]:
    kwh = None if energy_j is None else energy_j / J_PER_KWH
    return {"kwh": kwh, "energy_money": None if kwh is None or prices.kwh is None else kwh * prices.kwh}


def figures_out(figures: Figures, prices: Prices) -> dict[str, object]:
    """The fields of ``FiguresOut``: those of the figures, and what follows from them at these prices."""
    savings = figures.savings
    gpu_share = figures.gpu_s / figures.device_s if figures.device_s else 1.0
    return {
        **{name: getattr(figures, name) for name in FiguresOut.model_fields if hasattr(figures, name)},
        **_energy(figures.energy_j, prices),
        "audio_hours": figures.audio_s / S_PER_H,
        "savings": {
            "clocks": SavedOut.of_trick(savings.clocks, prices, gpu_share),
            "unloading": SavedOut.of_trick(savings.unloading, prices, gpu_share),
            "merging": SavedOut.of_trick(savings.merging, prices, gpu_share),
            "total": EnergyOut.of(savings.energy_j, prices),
        },
        "always_on": EnergyOut.of(figures.always_on_j, prices),
    }
