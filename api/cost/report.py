"""The bill: what speech cost in time, energy and money, and what was saved, from the records of meters. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from api.cost.curves import Curve, curves
from api.cost.figures import Figures, Prices, device_figures
from api.cost.savings import savings
from api.cost.totals import combine
from api.cost.watts import Watts, watts
from stentor.bill import UNLOADED, UNLOADED_LOW, MeterRecord, add_amounts
from stentor.owners.usage import Usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCost:
    """One device in the whole period and by day."""

    id: str
    figures: Figures
    watts: Watts
    curves: Sequence[Curve]
    days: Mapping[date, Figures]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyCost:
    """What one key used in the period, and its share of the money by device seconds."""

    owner: str
    key_id: str
    #: Empty for a revoked key.
    key_name: str
    characters: float
    audio_s: float
    device_s: float
    share: float | None
    money: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostReport:
    """The cost of a period in UTC, first and last day included."""

    since: date
    until: date
    prices: Prices
    total: Figures
    days: Mapping[date, Figures]
    devices: Sequence[DeviceCost]
    keys: Sequence[KeyCost]


def report(
    records: Iterable[MeterRecord], usage: Mapping[str, Sequence[Usage]], *, since: date, until: date, prices: Prices
) -> CostReport:
    """The report from the records of whole days, and from what each owner's keys used."""
    by_device: dict[str, dict[date, Mapping[str, float]]] = {}
    for record in records:
        by_device.setdefault(record.device, {})[record.date] = record.amounts
    devices = [_device_cost(device, days, prices) for device, days in sorted(by_device.items())]
    total = combine({device.id: device.figures for device in devices}, _characters(usage), prices)
    return CostReport(
        since=since,
        until=until,
        prices=prices,
        total=total,
        days=_by_day(devices, usage, prices),
        devices=devices,
        keys=_key_costs(usage, total.money),
    )


def _device_cost(device: str, days: Mapping[date, Mapping[str, float]], prices: Prices) -> DeviceCost:
    whole: dict[str, float] = {}
    for amounts in days.values():
        whole = add_amounts(whole, amounts)
    power = watts(whole)
    unloads = whole.get(f"s:{UNLOADED}", 0.0) + whole.get(f"s:{UNLOADED_LOW}", 0.0) > 0

    def figures(amounts: Mapping[str, float]) -> Figures:
        saved = savings(amounts, power, curves(amounts, whole), unloads=unloads)
        return device_figures(amounts, power, saved, prices)

    return DeviceCost(
        id=device,
        figures=figures(whole),
        watts=power,
        curves=curves(whole, whole),
        days={day: figures(amounts) for day, amounts in sorted(days.items())},
    )


def _by_day(devices: Sequence[DeviceCost], usage: Mapping[str, Sequence[Usage]], prices: Prices) -> dict[date, Figures]:
    days = sorted({day for device in devices for day in device.days})
    return {
        day: combine(
            {device.id: device.days[day] for device in devices if day in device.days}, _characters(usage, day), prices
        )
        for day in days
    }


def _characters(usage: Mapping[str, Sequence[Usage]], day: date | None = None) -> float:
    return sum(used.characters for found in usage.values() for used in found if day in (None, used.date))


def _key_costs(usage: Mapping[str, Sequence[Usage]], money: float | None) -> list[KeyCost]:
    used: dict[tuple[str, str], list[Usage]] = {}
    for owner, found in usage.items():
        for one in found:
            used.setdefault((owner, one.key_id), []).append(one)
    whole_s = sum(one.device_s for found in used.values() for one in found)
    costs = []
    for (owner, key_id), found in sorted(used.items()):
        device_s = sum(one.device_s for one in found)
        share = device_s / whole_s if whole_s > 0 else None
        costs.append(
            KeyCost(
                owner=owner,
                key_id=key_id,
                key_name=found[-1].key_name,
                characters=sum(one.characters for one in found),
                audio_s=sum(one.audio_s for one in found),
                device_s=device_s,
                share=share,
                money=None if share is None or money is None else money * share,
            )
        )
    return costs
