"""The bill as it goes out over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.cost.report import J_PER_KWH, S_PER_H, CostReport, DeviceCost, Figures, Prices
from api.cost.savings import FORMULAS, Saved
from api.cost.usage import DaysQuery
from stentor.bill import SLOT_S, STATES, Record

#: To the millisecond, or the thousandth of a joule: more than clocks and counters know.
Rounded = Annotated[float, AfterValidator(lambda value: round(value, 3))]
Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class CostQuery(DaysQuery):
    """Which days, both included, in UTC, and at which prices."""

    price_kwh: Price | None = Field(None, description="What a kWh costs; `STENTOR_PRICE_KWH` if absent.")
    price_gpu_hour: Price | None = Field(
        None, description="What an hour of a GPU costs; `STENTOR_PRICE_GPU_HOUR` if absent."
    )
    slots: bool = Field(False, description="Tell the last of these days by ten minutes, too.")


class SecondsOut(BaseModel):
    """Time of devices by what they did."""

    busy: Rounded = Field(description="In forward passes.")
    idle: Rounded = Field(description="A model on the device and nothing to speak, at normal clocks.")
    idle_low: Rounded = Field(description="The same at low clocks.")
    unloaded: Rounded = Field(description="No model on the device, at normal clocks.")
    unloaded_low: Rounded = Field(description="The same at low clocks.")
    starting: Rounded = Field(description="Loading a model, or failing to.")
    unknown: Rounded = Field(description="The scheduler was away, or a process ended in the middle of a pass.")


class JoulesOut(BaseModel):
    """Energy by what devices did. `null`: no energy was measured, or not so that it can be told apart."""

    busy: Rounded | None
    idle: Rounded | None
    idle_low: Rounded | None
    unloaded: Rounded | None
    unloaded_low: Rounded | None
    starting: Rounded | None
    unknown: Rounded | None


class WattsOut(BaseModel):
    """Mean power of a device by what it did, as measured over the period; `reasons` says why one is `null`."""

    busy: Rounded | None
    idle: Rounded | None
    idle_low: Rounded | None
    unloaded: Rounded | None
    unloaded_low: Rounded | None
    starting: Rounded | None
    reasons: dict[str, str]


class EnergyOut(BaseModel):
    """Energy, and what it costs."""

    energy_j: Rounded | None
    kwh: float | None
    energy_money: float | None

    @classmethod
    def of(cls, energy_j: float | None, prices: Prices) -> EnergyOut:
        """That many joules."""
        return cls(energy_j=energy_j, **_energy(energy_j, prices))


class SavedOut(EnergyOut):
    """What one trick saved; below 0 it cost more than it saved."""

    device_s: Rounded | None = Field(description="Device time that was free for something else.")
    device_money: float | None = Field(description="What it costs; saved only if somebody else had the GPU then.")
    reason: str = Field(description="Why something is `null`, or what of the time it leaves out.")

    @classmethod
    def of_trick(cls, saved: Saved, prices: Prices, gpu_share: float) -> SavedOut:
        """What that trick saved on devices that have such a share of their GPUs."""
        known = saved.device_s is not None and prices.gpu_hour is not None
        return cls(
            energy_j=saved.energy_j,
            **_energy(saved.energy_j, prices),
            device_s=saved.device_s,
            device_money=(saved.device_s or 0.0) * gpu_share / S_PER_H * (prices.gpu_hour or 0.0) if known else None,
            reason=saved.reason,
        )


class SavingsOut(BaseModel):
    """What each trick saved, and all of them: `always_on` less what was used. `formulas` says how it is reckoned."""

    clocks: SavedOut
    unloading: SavedOut
    merging: SavedOut
    total: EnergyOut


class FiguresOut(EnergyOut):
    """What devices did, took and cost. What cannot be known is `null`, and `reasons` says why."""

    device_s: Rounded = Field(description="Time for which there was a device; all of `seconds`.")
    gpu_s: Rounded = Field(description="The same of GPUs: devices on one GPU share its time, and its price.")
    seconds: SecondsOut
    energy_s: Rounded = Field(description="Time whose energy was measured.")
    energy_from: Literal["counter", "samples", "both"] | None = Field(
        description="The GPU's own counter of energy, or samples of its power."
    )
    energy_by_state_j: JoulesOut
    audio_s: Rounded
    audio_hours: float
    batches: int
    rows: int
    characters: int | None = Field(description="Submitted, by all keys; of all devices together only.")
    j_per_audio_hour: Rounded | None
    j_per_million_characters: Rounded | None
    device_money: float | None
    money: float | None
    savings: SavingsOut
    always_on: EnergyOut
    reasons: dict[str, str]

    @classmethod
    def of_figures(cls, figures: Figures, prices: Prices) -> FiguresOut:
        """These figures."""
        return cls.model_validate(_figures(figures, prices))


class DayCostOut(FiguresOut):
    """The figures of one day."""

    date: date


class CurveOut(BaseModel):
    """What passes of a model take: `fixed_s + per_longest_s x longest row + per_padded_s x padded cost`."""

    model: str
    passes: int
    rows: int
    fixed_s: float | None
    per_longest_s: float | None
    per_padded_s: float | None
    saved_s: Rounded | None = Field(description="How much longer its rows would have taken alone.")
    reason: str = Field(description="Why that is `null`.")


class DeviceCostOut(FiguresOut):
    """One device over the period, and day by day."""

    id: str
    watts: WattsOut
    curves: list[CurveOut]
    days: list[DayCostOut]

    @classmethod
    def of_device(cls, device: DeviceCost, prices: Prices) -> DeviceCostOut:
        """That device."""
        return cls.model_validate(
            {
                **_figures(device.figures, prices),
                "id": device.id,
                "watts": {**device.watts.by_state, "reasons": dict(device.watts.reasons)},
                "curves": [CurveOut.model_validate(curve, from_attributes=True) for curve in device.curves],
                "days": _days(device.days, prices),
            }
        )


class KeyCostOut(BaseModel):
    """What one key used, and its share of the money: that of the device seconds."""

    owner: str
    key_id: str
    key_name: str = Field(description="Empty for a key that was revoked.")
    characters: int
    audio_s: Rounded
    device_s: Rounded
    share: float | None
    money: float | None


class SlotOut(BaseModel):
    """Ten minutes of a device."""

    device: str
    begin: datetime
    seconds: SecondsOut
    energy_j: Rounded | None
    watts: Rounded | None
    clock_mhz: Rounded | None
    audio_s: Rounded

    @classmethod
    def of(cls, record: Record) -> SlotOut:
        """That record of ten minutes."""
        amounts, midnight = record.amounts, datetime(record.date.year, record.date.month, record.date.day, tzinfo=UTC)
        energy_s = amounts.get("counter_s", 0.0) + amounts.get("samples_s", 0.0)
        energy_j = amounts.get("energy_j", 0.0) if energy_s > 0 else None
        clock_s = amounts.get("clock_s", 0.0)
        return cls.model_validate(
            {
                "device": record.device,
                "begin": midnight + timedelta(seconds=(record.slot or 0) * SLOT_S),
                "seconds": {state: amounts.get(f"s:{state}", 0.0) for state in STATES},
                "energy_j": energy_j,
                "watts": None if energy_j is None else energy_j / energy_s,
                "clock_mhz": amounts.get("clock_mhz_s", 0.0) / clock_s if clock_s > 0 else None,
                "audio_s": amounts.get("audio_s", 0.0),
            }
        )


class CostOut(BaseModel):
    """What speech cost, and what was saved. Money is in the currency of the prices."""

    since: date
    until: date
    price_kwh: float | None
    price_gpu_hour: float | None
    total: FiguresOut
    days: list[DayCostOut] = Field(description="All devices together, oldest first; days without any are left out.")
    devices: list[DeviceCostOut]
    keys: list[KeyCostOut]
    formulas: dict[str, str] = Field(description="How the savings are reckoned, in words.")
    slots: list[SlotOut] | None = Field(description="With `slots=true`; those of the last 35 days are kept.")

    @classmethod
    def of(cls, report: CostReport, slots: list[Record] | None) -> CostOut:
        """That report, with the records of ten minutes if they are wanted."""
        return cls.model_validate(
            {
                "since": report.since,
                "until": report.until,
                "price_kwh": report.prices.kwh,
                "price_gpu_hour": report.prices.gpu_hour,
                "total": FiguresOut.of_figures(report.total, report.prices),
                "days": _days(report.days, report.prices),
                "devices": [DeviceCostOut.of_device(device, report.prices) for device in report.devices],
                "keys": [KeyCostOut.model_validate(key, from_attributes=True) for key in report.keys],
                "formulas": dict(FORMULAS),
                "slots": None if slots is None else [SlotOut.of(record) for record in slots],
            }
        )


def _days(days: Mapping[date, Figures], prices: Prices) -> list[DayCostOut]:
    return [DayCostOut.model_validate({**_figures(figures, prices), "date": day}) for day, figures in days.items()]


def _energy(energy_j: float | None, prices: Prices) -> dict[str, float | None]:
    kwh = None if energy_j is None else energy_j / J_PER_KWH
    return {"kwh": kwh, "energy_money": None if kwh is None or prices.kwh is None else kwh * prices.kwh}


def _figures(figures: Figures, prices: Prices) -> dict[str, object]:
    savings = figures.savings
    gpu_share = figures.gpu_s / figures.device_s if figures.device_s else 1.0
    return {
        "energy_j": figures.energy_j,
        **_energy(figures.energy_j, prices),
        "device_s": figures.device_s,
        "gpu_s": figures.gpu_s,
        "seconds": figures.seconds,
        "energy_s": figures.energy_s,
        "energy_from": figures.energy_from,
        "energy_by_state_j": figures.energy_by_state_j,
        "audio_s": figures.audio_s,
        "audio_hours": figures.audio_s / S_PER_H,
        "batches": figures.batches,
        "rows": figures.rows,
        "characters": figures.characters,
        "j_per_audio_hour": figures.j_per_audio_hour,
        "j_per_million_characters": figures.j_per_million_characters,
        "device_money": figures.device_money,
        "money": figures.money,
        "savings": {
            "clocks": SavedOut.of_trick(savings.clocks, prices, gpu_share),
            "unloading": SavedOut.of_trick(savings.unloading, prices, gpu_share),
            "merging": SavedOut.of_trick(savings.merging, prices, gpu_share),
            "total": EnergyOut.of(savings.energy_j, prices),
        },
        "always_on": EnergyOut.of(figures.always_on_j, prices),
        "reasons": figures.reasons,
    }
