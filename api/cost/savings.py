"""What lower clocks, unloading and merging saved on a device, against a model that never leaves and texts one by one.

Pure: from the amounts of ``stentor.bill``. ``FORMULAS`` says in words what is computed here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from api.cost.fitting import determines, non_negative
from stentor.bill import BUSY, IDLE, IDLE_LOW, STARTING, STATES, UNKNOWN, UNLOADED, UNLOADED_LOW, sums_in
from stentor.devices.passes import NAMES

#: Passes from which on a curve is fitted: fewer are mostly their own noise.
LEAST_PASSES: Final = 10
#: A state whose power was never measured counts as idle if it took no more than this share of the time: a second of low
#: clocks, never for a whole tick, would otherwise leave the power of all passes unknown.
SLIVER: Final = 0.001

FORMULAS: Final[Mapping[str, str]] = {
    "always_on": "The same texts, each in a pass of its own, on a model that is never unloaded, at normal clocks: "
    "energy_j plus what the three tricks saved. Where all time is known and measured, that is "
    "(seconds.busy + merging.device_s) x watts.busy + (device_s - seconds.busy - merging.device_s) x watts.idle.",
    "clocks": "seconds.idle_low x (watts.idle - watts.idle_low) + seconds.unloaded_low x (watts.unloaded - "
    "watts.unloaded_low). Where watts.unloaded was never measured, the second difference is the first one, too.",
    "unloading": "(seconds.unloaded + seconds.unloaded_low) x (watts.idle - watts.unloaded) + seconds.starting x "
    "(watts.idle - watts.starting). Where watts.unloaded was never measured, seconds.unloaded_low x (watts.idle_low - "
    "watts.unloaded_low) stands for the first term. Starting counts only if the device was unloaded in the period.",
    "merging": "merging.device_s x (watts.busy - watts.idle). By each model's curve t = a + b l + c p (l: the longest "
    "row of a pass, p: its padded cost), merging.device_s is what its rows alone would have taken, a x rows + (b + c) "
    "x cost of all rows, less what the passes took, a x passes + b x sum of l + c x sum of p.",
    "watts": "The joules over the seconds of ticks that lay in one state from end to end, in the whole period. Of "
    "busy: all joules of known states, less those of other states by their watts, over the busy seconds. A state that "
    "took no more than a thousandth of the time and was never measured counts as idle.",
    "seconds": "In these formulas: those whose energy was measured. device_s of unloading is all time without a model "
    "on the device; of clocks it is 0.",
    "money": "energy_money is kWh x price_kwh; device_money is hours of gpu_s x price_gpu_hour. What is saved of "
    "device time is saved money only if somebody else has the GPU meanwhile.",
}

#: The sums of the products of 1, the longest row and the padded cost, and of each with the time, by name.
_GRAM: Final = (("n", "l", "p"), ("l", "ll", "lp"), ("p", "lp", "pp"))
_MOMENTS: Final = ("t", "lt", "pt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watts:
    """Mean power by state, as measured; None for what was not, with the reason why."""

    by_state: Mapping[str, float | None]
    reasons: Mapping[str, str]
    #: States that count as idle (see ``SLIVER``).
    slivers: frozenset[str] = frozenset()

    def __getitem__(self, state: str) -> float | None:
        """The power that the state is reckoned with."""
        return self.by_state[IDLE if state in self.slivers else state]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """How long a model's passes take on a device: ``fixed_s + per_longest_s x l + per_padded_s x p``."""

    model: str
    passes: float
    rows: float
    fixed_s: float | None = None
    per_longest_s: float | None = None
    per_padded_s: float | None = None
    #: Seconds that its rows would have taken longer alone.
    saved_s: float | None = None
    #: Why it is not known.
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saved:
    """What one trick saved; None for what cannot be known, with the reason why."""

    energy_j: float | None
    #: Device time that was free for something else: of passes (merging), or without a model (unloading).
    device_s: float | None
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Savings:
    """What the three tricks saved."""

    clocks: Saved
    unloading: Saved
    merging: Saved

    @property
    def energy_j(self) -> float | None:
        """Joules of all three together: always-on less what was used."""
        parts = [self.clocks.energy_j, self.unloading.energy_j, self.merging.energy_j]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def measured_s(amounts: Mapping[str, float], state: str) -> float:
    """Seconds in that state whose energy is known."""
    return amounts.get(f"pure_s:{state}", 0.0) + amounts.get(f"mixed_s:{state}", 0.0)


def watts(amounts: Mapping[str, float]) -> Watts:
    """Mean power by state over all of a device's time."""
    found: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for state in STATES:
        if state in (BUSY, UNKNOWN):
            continue
        pure_s = amounts.get(f"pure_s:{state}", 0.0)
        found[state] = amounts.get(f"pure_j:{state}", 0.0) / pure_s if pure_s > 0 else None
        if found[state] is None:
            reasons[state] = _why_not_measured(amounts, state)
    slivers = frozenset(state for state, power_w in found.items() if power_w is None and _is_sliver(amounts, state))
    reasons |= {state: f"{reasons[state]}; so short a time counts as idle" for state in slivers}
    busy_w = _busy_w(amounts, {state: found[IDLE if state in slivers else state] for state in found})
    if isinstance(busy_w, str):
        reasons[BUSY] = busy_w
    by_state = {BUSY: None if isinstance(busy_w, str) else busy_w, **found}
    return Watts(by_state=by_state, reasons=reasons, slivers=slivers)


def _is_sliver(amounts: Mapping[str, float], state: str) -> bool:
    measured = sum(measured_s(amounts, one) for one in STATES)
    return 0 < measured_s(amounts, state) <= SLIVER * measured


def _why_not_measured(amounts: Mapping[str, float], state: str) -> str:
    if amounts.get(f"s:{state}", 0.0) <= 0:
        return f"the device was never {state}"
    if amounts.get("counter_s", 0.0) + amounts.get("samples_s", 0.0) <= 0:
        return "no energy was measured on this device"
    return f"no tick was {state} from end to end"


def _busy_w(amounts: Mapping[str, float], rest_w: Mapping[str, float | None]) -> float | str:
    """The power of passes, or why it is not known: what is left of all energy when that of other states is taken off.

    Passes are mostly shorter than a tick, so that hardly any tick is all theirs.
    """
    busy_s = measured_s(amounts, BUSY)
    if busy_s <= 0:
        return _why_not_measured(amounts, BUSY)
    joules = amounts.get(f"pure_j:{BUSY}", 0.0) + amounts.get("mixed_j", 0.0)
    for state, power_w in rest_w.items():
        seconds = amounts.get(f"mixed_s:{state}", 0.0)
        if seconds > 0 and power_w is None:
            return f"ticks with passes were {state}, too, and {_why_not_measured(amounts, state)}"
        joules -= seconds * (power_w or 0.0)
    return joules / busy_s if joules > 0 else "its passes took less energy than the time around them would have"


def curves(amounts: Mapping[str, float], fitted_to: Mapping[str, float]) -> list[Curve]:
    """Each model's curve, fitted to the passes in ``fitted_to``, and what it says of those in ``amounts``."""
    basis = sums_in(fitted_to)
    return [_curve(model, _named(sums), _named(basis[model])) for model, sums in sums_in(amounts).items()]


def _named(sums: Sequence[float]) -> dict[str, float]:
    return dict(zip(NAMES, sums, strict=True))


def _curve(model: str, sums: Mapping[str, float], basis: Mapping[str, float]) -> Curve:
    # What the rows alone would have had more of each: fixed parts, longest rows, padded costs.
    more = (sums["rows"] - sums["n"], sums["cost"] - sums["l"], sums["cost"] - sums["p"])
    curve = Curve(model=model, passes=sums["n"], rows=sums["rows"])
    if more[0] <= 0:
        return dataclasses.replace(curve, saved_s=0.0)
    if basis["n"] < LEAST_PASSES:
        why = f"{basis['n']:.0f} passes are too few for a curve; {LEAST_PASSES} are wanted"
        return dataclasses.replace(curve, reason=why)
    gram = [[basis[name] for name in row] for row in _GRAM]
    if not determines(gram, more):
        why = "its passes were too much alike to tell what a row alone takes"
        return dataclasses.replace(curve, reason=why)
    fixed_s, per_longest_s, per_padded_s = non_negative(gram, [basis[name] for name in _MOMENTS])
    return dataclasses.replace(
        curve,
        fixed_s=fixed_s,
        per_longest_s=per_longest_s,
        per_padded_s=per_padded_s,
        saved_s=more[0] * fixed_s + more[1] * per_longest_s + more[2] * per_padded_s,
    )


def savings(amounts: Mapping[str, float], power: Watts, fitted: Sequence[Curve], *, unloads: bool) -> Savings:
    """What the tricks saved in the time of ``amounts``; ``unloads``: whether it was unloaded at all in the period."""
    return Savings(
        clocks=_clocks(amounts, power),
        unloading=_unloading(amounts, power, unloads=unloads),
        merging=_merging(power, fitted),
    )


def _clocks(amounts: Mapping[str, float], power: Watts) -> Saved:
    idle = (measured_s(amounts, IDLE_LOW), IDLE, IDLE_LOW)
    there = (UNLOADED, UNLOADED_LOW) if power.by_state[UNLOADED] is not None else (IDLE, IDLE_LOW)
    energy_j, reason = _sum([idle, (measured_s(amounts, UNLOADED_LOW), *there)], power)
    return _unless_unmeasured(
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
    return _unless_unmeasured(
        Saved(energy_j=energy_j, device_s=device_s, reason=reason), amounts, of=(UNLOADED, UNLOADED_LOW)
    )


def _merging(power: Watts, fitted: Sequence[Curve]) -> Saved:
    open_ones = [curve for curve in fitted if curve.saved_s is None]
    if open_ones:
        reason = "; ".join(f"{curve.model}: {curve.reason}" for curve in open_ones)
        return Saved(energy_j=None, device_s=None, reason=reason)
    saved_s = sum(curve.saved_s or 0.0 for curve in fitted)
    energy_j, reason = _sum([(saved_s, BUSY, IDLE)], power)
    return Saved(energy_j=energy_j, device_s=saved_s, reason=reason)


def _sum(terms: Iterable[tuple[float, str, str]], power: Watts) -> tuple[float | None, str]:
    """The sum of seconds times the power of one state less that of another; None, and why, if a power is not known."""
    total_j = 0.0
    for seconds, dearer, cheaper in terms:
        if seconds == 0:
            continue
        dear_w, cheap_w = power[dearer], power[cheaper]
        if dear_w is None or cheap_w is None:
            missing = dearer if dear_w is None else cheaper
            return None, f"the power of {missing} is not known: {power.reasons[missing]}"
        total_j += seconds * (dear_w - cheap_w)
    return total_j, ""


def _unless_unmeasured(saved: Saved, amounts: Mapping[str, float], *, of: Sequence[str]) -> Saved:
    """The same with a word on time in the states ``of`` whose energy was not measured; unknown if that is all of it."""
    seen_s = sum(amounts.get(f"s:{state}", 0.0) for state in of)
    known_s = sum(measured_s(amounts, state) for state in of)
    if saved.reason or seen_s - known_s <= 1:
        return saved
    why = f"of {seen_s:.0f} s of it the energy was measured in {known_s:.0f} s"
    return dataclasses.replace(saved, energy_j=saved.energy_j if known_s > 0 else None, reason=why)
