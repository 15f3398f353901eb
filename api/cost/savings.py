"""What lower clocks, unloading and merging saved, compared with a loaded model that speaks texts one by one.

Pure, from the amounts of ``stentor.bill``. ``FORMULAS`` describes the computation in words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from api.cost.curves import Curve
from api.cost.watts import Watts, measured_s
from stentor.bill import BUSY, IDLE, IDLE_LOW, STARTING, UNLOADED, UNLOADED_LOW

FORMULAS: Final[Mapping[str, str]] = {
    "always_on": "The same texts, each in its own pass, on a model that is never unloaded, at normal clocks: "
    "energy_j plus what the three measures saved. If all time is known and measured, this is "
    "(seconds.busy + merging.device_s) x watts.busy + (device_s - seconds.busy - merging.device_s) x watts.idle.",
    "clocks": "seconds.idle_low x (watts.idle - watts.idle_low) + seconds.unloaded_low x (watts.unloaded - "
    "watts.unloaded_low). If watts.unloaded was never measured, the first difference also replaces the second.",
    "unloading": "(seconds.unloaded + seconds.unloaded_low) x (watts.idle - watts.unloaded) + seconds.starting x "
    "(watts.idle - watts.starting). If watts.unloaded was never measured, seconds.unloaded_low x (watts.idle_low - "
    "watts.unloaded_low) replaces the first term. Starting counts only if the device was unloaded in the period.",
    "merging": "merging.device_s x (watts.busy - watts.idle). With each model's curve t = a + b l + c p (l: the "
    "longest row of a pass, p: its padded cost), merging.device_s is the time its rows would take one by one, a x rows "
    "+ (b + c) x cost of all rows, minus the time of the passes, a x passes + b x sum of l + c x sum of p.",
    "watts": "Joules divided by seconds, of the ticks that were in one state from begin to end, in the whole period. "
    "For busy: all joules of known states, minus those of the other states by their watts, divided by busy seconds. "
    "A state that took at most a thousandth of the time and was never measured counts as idle.",
    "seconds": "In these formulas: seconds for which energy was measured. device_s of unloading is all time without a "
    "loaded model; device_s of clocks is 0.",
    "money": "energy_money is kWh x price_kwh; device_money is hours of gpu_s x price_gpu_hour. Saved device time "
    "saves money only if the GPU does other work in that time.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saved:
    """What one measure saved; None if it cannot be known, with the reason."""

    energy_j: float | None
    #: Device time that became free for other work: of passes (merging), or without a model (unloading).
    device_s: float | None
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Savings:
    """What the three measures saved."""

    clocks: Saved
    unloading: Saved
    merging: Saved

    @property
    def energy_j(self) -> float | None:
        """Joules of all three together: always-on minus the energy used."""
        parts = [self.clocks.energy_j, self.unloading.energy_j, self.merging.energy_j]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def savings(amounts: Mapping[str, float], power: Watts, fitted: Sequence[Curve], *, unloads: bool) -> Savings:
    """What was saved in the time of ``amounts``; ``unloads``: whether the device was ever unloaded in the period."""
    return Savings(
        clocks=_clocks(amounts, power),
        unloading=_unloading(amounts, power, unloads=unloads),
        merging=_merging(power, fitted),
    )


def _clocks(amounts: Mapping[str, float], power: Watts) -> Saved:
    idle = (measured_s(amounts, IDLE_LOW), IDLE, IDLE_LOW)
    there = (UNLOADED, UNLOADED_LOW) if power.by_state[UNLOADED] is not None else (IDLE, IDLE_LOW)
    energy_j, reason = _sum([idle, (measured_s(amounts, UNLOADED_LOW), *there)], power)
    return _note_unmeasured_time(
        Saved(energy_j=energy_j, device_s=0.0, reason=reason), amounts, of=(IDLE_LOW, UNLOADED_LOW)
    )


def _unloading(amounts: Mapping[str, float], power: Watts, *, unloads: bool) -> Saved:
    low_s = measured_s(amounts, UNLOADED_LOW)
    terms = [
        (measured_s(amounts, UNLOADED), IDLE, UNLOADED),
        (low_s, IDLE, UNLOADED) if power.by_state[UNLOADED] is not None else (low_s, IDLE_LOW, UNLOADED_LOW),
        (measured_s(amounts, STARTING) if unloads else 0.0, IDLE, STARTING),
    ]
    energy_j, reason = _sum(terms, power)
    device_s = amounts.get(f"s:{UNLOADED}", 0.0) + amounts.get(f"s:{UNLOADED_LOW}", 0.0)
    return _note_unmeasured_time(
        Saved(energy_j=energy_j, device_s=device_s, reason=reason), amounts, of=(UNLOADED, UNLOADED_LOW)
    )


def _merging(power: Watts, fitted: Sequence[Curve]) -> Saved:
    unknown = [curve for curve in fitted if curve.saved_s is None]
    if unknown:
        reason = "; ".join(f"{curve.model}: {curve.reason}" for curve in unknown)
        return Saved(energy_j=None, device_s=None, reason=reason)
    saved_s = sum(curve.saved_s or 0.0 for curve in fitted)
    energy_j, reason = _sum([(saved_s, BUSY, IDLE)], power)
    return Saved(energy_j=energy_j, device_s=saved_s, reason=reason)


def _sum(terms: Iterable[tuple[float, str, str]], power: Watts) -> tuple[float | None, str]:
    """The sum of seconds x (power of one state - power of another), or None and the reason if a power is unknown."""
    total_j = 0.0
    for seconds, dearer, cheaper in terms:
        if seconds == 0:
            continue
        dear_w, cheap_w = power[dearer], power[cheaper]
        if dear_w is None or cheap_w is None:
            missing = dearer if dear_w is None else cheaper
            return None, f"the power of {missing} is unknown: {power.reasons[missing]}"
        total_j += seconds * (dear_w - cheap_w)
    return total_j, ""


def _note_unmeasured_time(saved: Saved, amounts: Mapping[str, float], *, of: Sequence[str]) -> Saved:
    """The saving with a note on time in the states ``of`` without measured energy; None if that is all the time."""
    seen_s = sum(amounts.get(f"s:{state}", 0.0) for state in of)
    known_s = sum(measured_s(amounts, state) for state in of)
    if saved.reason or seen_s - known_s <= 1:
        return saved
    why = f"energy was measured in {known_s:.0f} of {seen_s:.0f} s"
    return dataclasses.replace(saved, energy_j=saved.energy_j if known_s > 0 else None, reason=why)
