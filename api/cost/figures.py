"""What devices did, took and cost in a period, and what follows from it. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from api.cost.savings import Savings
from api.cost.watts import Watts
from stentor.bill import STATES, UNKNOWN

J_PER_KWH: Final = 3_600_000.0
S_PER_H: Final = 3600.0
#: Share of a device's time without measured energy that needs no note, such as the restart of a scheduler.
UNMEASURED: Final = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """Price of one kWh and of one hour of a GPU (or another device), in one currency; None if not set."""

    kwh: float | None = None
    gpu_hour: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """What devices did and used. An unknown value is None; ``reasons`` says why, by name."""

    #: Device time by state and in all.
    seconds: Mapping[str, float]
    device_s: float
    #: GPU time: devices on one GPU share its time.
    gpu_s: float
    #: The measured energy, and for how many seconds it was measured.
    energy_j: float | None
    energy_s: float
    #: ``counter`` or ``samples`` of the GPU's power, or ``both``.
    energy_from: str | None
    #: A tick in several states is divided by their watts.
    energy_by_state_j: Mapping[str, float | None]
    audio_s: float
    batches: float
    rows: float
    savings: Savings
    j_per_audio_hour: float | None = None
    energy_money: float | None = None
    device_money: float | None = None
    money: float | None = None
    #: Energy of the same texts without the savings (see ``api.cost.savings.FORMULAS``).
    always_on_j: float | None = None
    #: Submitted characters, whatever their outcome, and the energy by them; only for all devices together.
    characters: float | None = None
    j_per_million_characters: float | None = None
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)


def device_figures(amounts: Mapping[str, float], power: Watts, saved: Savings, prices: Prices) -> Figures:
    """The figures of one device, or of one of its days."""
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
        savings=saved,
        reasons={} if measured else {"energy_j": "no energy was measured: NVML is missing or does not report it"},
    )
    figures = dataclasses.replace(figures, reasons={**figures.reasons, **partial_energy_reason({"": figures})})
    return price_figures(figures, prices, audio_s=figures.audio_s)


def partial_energy_reason(measured: Mapping[str, Figures]) -> dict[str, str]:
    """The reason why the measured energy of these devices is not all that they used, if it is not."""
    parts = {
        device: f"energy was measured in {part.energy_s:,.0f} of {part.device_s:,.0f} s"
        for device, part in measured.items()
        if part.energy_j is not None and part.device_s - part.energy_s > UNMEASURED * part.device_s
    }
    reason = "; ".join(f"{device}: {words}" if device else words for device, words in sorted(parts.items()))
    return {"energy_j": reason} if reason else {}


def _by_state(amounts: Mapping[str, float], power: Watts) -> dict[str, float | None]:
    """All joules by state. Those of mixed ticks are divided by seconds x watts, so that the sum stays the same."""
    mixed_j = amounts.get("mixed_j", 0.0)
    pure_j = {state: amounts.get(f"pure_j:{state}", 0.0) for state in STATES if state != UNKNOWN}
    unknown_j = amounts.get("energy_j", 0.0) - mixed_j - sum(pure_j.values())
    mixed_s = {state: amounts.get(f"mixed_s:{state}", 0.0) for state in pure_j}
    weights = {state: seconds * (power[state] or 0.0) for state, seconds in mixed_s.items()}
    if any(mixed_s[state] > 0 and power[state] is None for state in pure_j) or (mixed_j and not any(weights.values())):
        return {**{state: None if mixed_s[state] > 0 else pure_j[state] for state in pure_j}, UNKNOWN: unknown_j}
    scale = mixed_j / (sum(weights.values()) or 1.0)
    return {**{state: pure_j[state] + weights[state] * scale for state in pure_j}, UNKNOWN: unknown_j}


def price_figures(figures: Figures, prices: Prices, *, audio_s: float) -> Figures:
    """The figures with money and ratios added. ``audio_s`` is the audio made with the measured energy."""
    energy_j, reasons = figures.energy_j, dict(figures.reasons)
    energy_money = _times(energy_j, prices.kwh, J_PER_KWH)
    device_money = _times(figures.gpu_s, prices.gpu_hour, S_PER_H)
    if prices.kwh is None:
        reasons["energy_money"] = "no electricity price is set (STENTOR_PRICE_KWH)"
    elif energy_money is None:
        reasons["energy_money"] = reasons["money"] = reasons["energy_j"]
    if prices.gpu_hour is None:
        reasons["device_money"] = "no GPU price is set (STENTOR_PRICE_GPU_HOUR)"
    if prices == Prices():
        reasons["money"] = "no price is set (STENTOR_PRICE_KWH, STENTOR_PRICE_GPU_HOUR)"
    if energy_j is not None and audio_s <= 0:
        reasons["j_per_audio_hour"] = "no audio was made"
    saved_j = figures.savings.energy_j
    if energy_j is None or saved_j is None:
        reasons["always_on_j"] = reasons.get("energy_j", "some savings are unknown")
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
