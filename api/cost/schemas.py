"""The cost report in HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field

from api.cost.figures import Figures, Prices
from api.cost.figures_schemas import FiguresOut, Rounded, SecondsOut, WattsOut, figures_out
from api.cost.report import CostReport, DeviceCost
from api.cost.savings import FORMULAS
from api.cost.usage import DaysQuery
from stentor.bill import SLOT_S, STATES, MeterRecord

Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class CostQuery(DaysQuery):
    """The period in UTC, first and last day included, and the prices."""

    price_kwh: Price | None = Field(None, description="Price of one kWh. Default: `STENTOR_PRICE_KWH`.")
    price_gpu_hour: Price | None = Field(
        None, description="Price of one GPU hour, in the same currency. Default: `STENTOR_PRICE_GPU_HOUR`."
    )
    slots: bool = Field(False, description="Also return the last day in slots of ten minutes.")


class DayCostOut(FiguresOut):
    """The figures of one day."""

    date: date


class CurveOut(BaseModel):
    """Duration of a pass of a model: `fixed_s + per_longest_s x longest row + per_padded_s x padded cost`."""

    model: str
    passes: int
    rows: int
    fixed_s: float | None
    per_longest_s: float | None
    per_padded_s: float | None
    saved_s: Rounded | None = Field(description="How much longer its rows would have taken one by one.")
    reason: str = Field(description="Why `saved_s` is `null`.")


class DeviceCostOut(FiguresOut):
    """One device in the whole period and by day."""

    id: str
    watts: WattsOut
    curves: list[CurveOut]
    days: list[DayCostOut]

    @classmethod
    def of_device(cls, device: DeviceCost, prices: Prices) -> DeviceCostOut:
        """The device at these prices."""
        return cls.model_validate(
            {
                **figures_out(device.figures, prices),
                "id": device.id,
                "watts": {**device.watts.by_state, "reasons": dict(device.watts.reasons)},
                "curves": [CurveOut.model_validate(curve, from_attributes=True) for curve in device.curves],
                "days": _days(device.days, prices),
            }
        )


class KeyCostOut(BaseModel):
    """What one key used, and its share of the money, which is its share of the device seconds."""

    owner: str
    key_id: str
    key_name: str = Field(description="Empty for a revoked key.")
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
    def of(cls, record: MeterRecord) -> SlotOut:
        """The record of ten minutes."""
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
    """What speech cost and what was saved. Money is in the currency of the prices."""

    since: date
    until: date
    price_kwh: float | None
    price_gpu_hour: float | None
    total: FiguresOut
    days: list[DayCostOut] = Field(
        description="All devices together, oldest day first; days without devices are left out."
    )
    devices: list[DeviceCostOut]
    keys: list[KeyCostOut]
    formulas: dict[str, str] = Field(description="How the savings are computed, in words.")
    slots: list[SlotOut] | None = Field(description="Only with `slots=true`. Slots are kept for 35 days.")

    @classmethod
    def of(cls, report: CostReport, slots: list[MeterRecord] | None) -> CostOut:
        """The report, with the records of ten minutes if requested."""
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
    return [DayCostOut.model_validate({**figures_out(figures, prices), "date": day}) for day, figures in days.items()]
