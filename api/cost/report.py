"""The bill: what speech cost in time, energy and money, and what was saved, from the records of meters. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from api.cost.savings import Curve, Saved, Savings, Watts, curves, savings, watts
from stentor.bill import STATES, UNKNOWN, UNLOADED, UNLOADED_LOW, Record, added
from stentor.owners.usage import Usage

J_PER_KWH: Final = 3_600_000.0
S_PER_H: Final = 3600.0
#: The share of a device's time in which its energy may be unmeasured, as while a scheduler starts anew, without a word.
UNMEASURED: Final = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """What a kWh and an hour of a GPU, or of a device that is none, cost, in one currency; None where nobody said."""

    kwh: float | None = None
    gpu_hour: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """What devices did and took. What is not known is None; ``reasons`` says why, by name."""

    #: Seconds for which there was a device, by state and in all.
    seconds: Mapping[str, float]
    device_s: float
    #: The same of GPUs: devices on one GPU share its time.
    gpu_s: float
    #: As far as it was measured, and for how many seconds that was.
    energy_j: float | None
    energy_s: float
    #: ``counter`` or ``samples`` of the GPU's power, or ``both``.
    energy_from: str | None
    #: A tick in several states is divided by their watts.
    energy_by_state_j: Mapping[str, float | None]
    audio_s: float
    batches: float
    rows: float
    j_per_audio_hour: float | None
    #: Money.
    energy_money: float | None
    device_money: float | None
    money: float | None
    savings: Savings
    #: What the same texts would have taken (see ``api.cost.savings.FORMULAS``).
    always_on_j: float | None
    #: Characters that were submitted, whatever became of them, and energy by them; of all devices together only.
    characters: float | None = None
    j_per_million_characters: float | None = None
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCost:
    """One device in the period, and day by day."""

    id: str
    figures: Figures
    watts: Watts
    curves: Sequence[Curve]
    days: Mapping[date, Figures]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyCost:
    """What one key used in the period, and its share of the money, by device seconds."""

    owner: str
    key_id: str
    #: Empty for a key that was revoked.
    key_name: str
    characters: float
    audio_s: float
    device_s: float
    share: float | None
    money: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostReport:
    """The bill of a period, both days included (UTC)."""

    since: date
    until: date
    prices: Prices
    total: Figures
    days: Mapping[date, Figures]
    devices: Sequence[DeviceCost]
    keys: Sequence[KeyCost]


def report(
    records: Iterable[Record], usage: Mapping[str, Sequence[Usage]], *, since: date, until: date, prices: Prices
) -> CostReport:
    """The bill from the records of whole days, and from what each owner's keys used."""
    by_device: dict[str, dict[date, Mapping[str, float]]] = {}
    for record in records:
        by_device.setdefault(record.device, {})[record.date] = record.amounts
    devices = [_device(device, days, prices) for device, days in sorted(by_device.items())]
    total = _together({device.id: device.figures for device in devices}, _characters(usage), prices)
    return CostReport(
        since=since,
        until=until,
        prices=prices,
        total=total,
        days=_by_day(devices, usage, prices),
        devices=devices,
        keys=_keys(usage, total.money),
    )


def _device(device: str, days: Mapping[date, Mapping[str, float]], prices: Prices) -> DeviceCost:
    whole: dict[str, float] = {}
    for amounts in days.values():
        whole = added(whole, amounts)
    power = watts(whole)
    unloads = whole.get(f"s:{UNLOADED}", 0.0) + whole.get(f"s:{UNLOADED_LOW}", 0.0) > 0

    def figures(amounts: Mapping[str, float]) -> Figures:
        saved = savings(amounts, power, curves(amounts, whole), unloads=unloads)
        return _figures(amounts, power, saved, prices)

    return DeviceCost(
        id=device,
        figures=figures(whole),
        watts=power,
        curves=curves(whole, whole),
        days={day: figures(amounts) for day, amounts in sorted(days.items())},
    )


def _figures(amounts: Mapping[str, float], power: Watts, saved: Savings, prices: Prices) -> Figures:
    seconds = {state: amounts.get(f"s:{state}", 0.0) for state in STATES}
    counter_s, samples_s = amounts.get("counter_s", 0.0), amounts.get("samples_s", 0.0)
    measured = counter_s + samples_s > 0
    figures = Figures(
        seconds=seconds,
        device_s=sum(seconds.values()),
        gpu_s=sum(seconds.values()) - amounts.get("shared_s", 0.0),
        energy_j=amounts.get("energy_j", 0.0) if measured else None,
        energy_s=counter_s + samples_s,
        energy_from="both" if counter_s and samples_s else "counter" if counter_s else "samples" if measured else None,
        energy_by_state_j=_by_state(amounts, power) if measured else dict.fromkeys(STATES),
        audio_s=amounts.get("audio_s", 0.0),
        batches=amounts.get("batches", 0.0),
        rows=amounts.get("rows", 0.0),
        j_per_audio_hour=None,
        energy_money=None,
        device_money=None,
        money=None,
        savings=saved,
        always_on_j=None,
        reasons={} if measured else {"energy_j": "no energy was measured: there is no NVML, or it does not tell"},
    )
    figures = dataclasses.replace(figures, reasons={**figures.reasons, **_in_part({"": figures})})
    return _priced(figures, prices, audio_s=figures.audio_s)


def _in_part(measured: Mapping[str, Figures]) -> dict[str, str]:
    """The reason why the energy of these is not all that they took, if it is not; by device."""
    parts = {
        device: f"it was measured in {part.energy_s:,.0f} of {part.device_s:,.0f} s"
        for device, part in measured.items()
        if part.energy_j is not None and part.device_s - part.energy_s > UNMEASURED * part.device_s
    }
    said = "; ".join(f"{device}: {words}" if device else words for device, words in sorted(parts.items()))
    return {"energy_j": said} if said else {}


def _by_state(amounts: Mapping[str, float], power: Watts) -> dict[str, float | None]:
    """All joules by state. Those of mixed ticks go by seconds times watts, so that all is given out and no more."""
    mixed_j = amounts.get("mixed_j", 0.0)
    pure_j = {state: amounts.get(f"pure_j:{state}", 0.0) for state in STATES if state != UNKNOWN}
    unknown_j = amounts.get("energy_j", 0.0) - mixed_j - sum(pure_j.values())
    mixed_s = {state: amounts.get(f"mixed_s:{state}", 0.0) for state in pure_j}
    weights = {state: seconds * (power[state] or 0.0) for state, seconds in mixed_s.items()}
    if any(mixed_s[state] > 0 and power[state] is None for state in pure_j) or (mixed_j and not any(weights.values())):
        return {**{state: None if mixed_s[state] > 0 else pure_j[state] for state in pure_j}, UNKNOWN: unknown_j}
    scale = mixed_j / (sum(weights.values()) or 1.0)
    return {**{state: pure_j[state] + weights[state] * scale for state in pure_j}, UNKNOWN: unknown_j}


def _priced(figures: Figures, prices: Prices, *, audio_s: float) -> Figures:
    """The same with what follows from it. ``audio_s`` is the audio that its energy made."""
    energy_j, reasons = figures.energy_j, dict(figures.reasons)
    energy_money = _times(energy_j, prices.kwh, J_PER_KWH)
    device_money = _times(figures.gpu_s, prices.gpu_hour, S_PER_H)
    if prices.kwh is None:
        reasons["energy_money"] = "nobody said what a kWh costs"
    elif energy_money is None:
        reasons["energy_money"] = reasons["money"] = reasons["energy_j"]
    if prices.gpu_hour is None:
        reasons["device_money"] = "nobody said what an hour of a GPU costs"
    if prices == Prices():
        reasons["money"] = "nobody said what anything costs"
    if energy_j is not None and audio_s <= 0:
        reasons["j_per_audio_hour"] = "no audio was made"
    saved_j = figures.savings.energy_j
    if energy_j is None or saved_j is None:
        reasons["always_on_j"] = reasons.get("energy_j", "not all savings are known")
    return dataclasses.replace(
        figures,
        j_per_audio_hour=energy_j / (audio_s / S_PER_H) if energy_j is not None and audio_s > 0 else None,
        energy_money=energy_money,
        device_money=device_money,
        money=None if "money" in reasons else (energy_money or 0.0) + (device_money or 0.0),
        always_on_j=None if energy_j is None or saved_j is None else energy_j + saved_j,
        reasons=reasons,
    )


def _times(amount: float | None, price: float | None, unit: float) -> float | None:
    return None if amount is None or price is None else amount / unit * price


def _by_day(devices: Sequence[DeviceCost], usage: Mapping[str, Sequence[Usage]], prices: Prices) -> dict[date, Figures]:
    days = sorted({day for device in devices for day in device.days})
    return {
        day: _together(
            {device.id: device.days[day] for device in devices if day in device.days}, _characters(usage, day), prices
        )
        for day in days
    }


def _characters(usage: Mapping[str, Sequence[Usage]], day: date | None = None) -> float:
    return sum(used.characters for found in usage.values() for used in found if day in (None, used.date))


def _together(parts: Mapping[str, Figures], characters: float, prices: Prices) -> Figures:
    """All devices together. Energy, and what is saved of it, is that of devices where it is measured."""
    measured = {device: part for device, part in parts.items() if part.energy_j is not None}
    silent = sorted(set(parts) - set(measured))
    sources = {part.energy_from for part in measured.values()}
    reasons = {"energy_j": f"no energy was measured on {', '.join(silent)}" if silent else "there was no device"}
    figures = Figures(
        seconds={state: sum(part.seconds[state] for part in parts.values()) for state in STATES},
        device_s=sum(part.device_s for part in parts.values()),
        gpu_s=sum(part.gpu_s for part in parts.values()),
        energy_j=sum(part.energy_j or 0.0 for part in measured.values()) if measured else None,
        energy_s=sum(part.energy_s for part in parts.values()),
        energy_from=None if not sources else sources.pop() if len(sources) == 1 else "both",
        energy_by_state_j={
            state: _sum({device: part.energy_by_state_j[state] for device, part in measured.items()})
            for state in STATES
        },
        audio_s=sum(part.audio_s for part in parts.values()),
        batches=sum(part.batches for part in parts.values()),
        rows=sum(part.rows for part in parts.values()),
        j_per_audio_hour=None,
        energy_money=None,
        device_money=None,
        money=None,
        savings=_saved_together(parts, measured),
        always_on_j=None,
        characters=characters,
        reasons=reasons if silent or not parts else _in_part(measured),
    )
    figures = _priced(figures, prices, audio_s=sum(part.audio_s for part in measured.values()))
    return _by_characters(figures, [device for device in silent if parts[device].audio_s > 0])


def _by_characters(figures: Figures, silent: Sequence[str]) -> Figures:
    """The same with its energy by characters: of all of them, for nobody knows which device spoke which."""
    characters, energy_j = figures.characters or 0.0, figures.energy_j
    why = ""
    if energy_j is None:
        why = figures.reasons["energy_j"]
    elif silent:
        why = f"{', '.join(silent)} spoke, too, and no energy was measured there"
    elif characters <= 0:
        why = "no characters were submitted"
    if why or energy_j is None:
        return dataclasses.replace(figures, reasons={**figures.reasons, "j_per_million_characters": why})
    return dataclasses.replace(figures, j_per_million_characters=energy_j / (characters / 1e6))


def _saved_together(parts: Mapping[str, Figures], measured: Mapping[str, Figures]) -> Savings:
    def one(trick: str) -> Saved:
        saved: dict[str, Saved] = {device: getattr(part.savings, trick) for device, part in parts.items()}
        return Saved(
            energy_j=_sum({device: saved[device].energy_j for device in measured}),
            device_s=_sum({device: one.device_s for device, one in saved.items()}),
            reason="; ".join(f"{device}: {one.reason}" for device, one in sorted(saved.items()) if one.reason),
        )

    return Savings(clocks=one("clocks"), unloading=one("unloading"), merging=one("merging"))


def _sum(parts: Mapping[str, float | None]) -> float | None:
    """The sum; None if there is nothing to add, or some of it is not known."""
    known = [part for part in parts.values() if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _keys(usage: Mapping[str, Sequence[Usage]], money: float | None) -> list[KeyCost]:
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
