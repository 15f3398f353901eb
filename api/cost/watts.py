"""Mean power of a device by what it does, from the amounts of ``stentor.bill``. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from stentor.bill import BUSY, IDLE, STATES, UNKNOWN

#: A state without measured power counts as idle if it took at most this share of the time. Otherwise one second of low
#: clocks, shorter than a tick, would leave the power of all passes unknown.
SLIVER: Final = 0.001


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watts:
    """Mean measured power by state; None if it was not measured, with the reason."""

    by_state: Mapping[str, float | None]
    reasons: Mapping[str, str]
    #: States that count as idle (see ``SLIVER``).
    slivers: frozenset[str] = frozenset()

    def __getitem__(self, state: str) -> float | None:
        """The power used in computations for the state."""
        return self.by_state[IDLE if state in self.slivers else state]


def measured_s(amounts: Mapping[str, float], state: str) -> float:
    """Seconds in the state for which energy was measured."""
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
            reasons[state] = _missing_reason(amounts, state)
    slivers = frozenset(state for state, power_w in found.items() if power_w is None and _is_sliver(amounts, state))
    reasons |= {state: f"{reasons[state]}; such a short time counts as idle" for state in slivers}
    busy_w = _busy_w(amounts, {state: found[IDLE if state in slivers else state] for state in found})
    if isinstance(busy_w, str):
        reasons[BUSY] = busy_w
    by_state = {BUSY: None if isinstance(busy_w, str) else busy_w, **found}
    return Watts(by_state=by_state, reasons=reasons, slivers=slivers)


def _is_sliver(amounts: Mapping[str, float], state: str) -> bool:
    measured = sum(measured_s(amounts, one) for one in STATES)
    return 0 < measured_s(amounts, state) <= SLIVER * measured


def _missing_reason(amounts: Mapping[str, float], state: str) -> str:
    if amounts.get(f"s:{state}", 0.0) <= 0:
        return f"the device was never {state}"
    if amounts.get("counter_s", 0.0) + amounts.get("samples_s", 0.0) <= 0:
        return "no energy was measured on this device"
    return f"no tick was {state} from begin to end"


def _busy_w(amounts: Mapping[str, float], rest_w: Mapping[str, float | None]) -> float | str:
    """The power of passes, or why it is unknown: all energy minus the energy of the other states.

    Most passes are shorter than a tick, so few ticks are busy from begin to end.
    """
    busy_s = measured_s(amounts, BUSY)
    if busy_s <= 0:
        return _missing_reason(amounts, BUSY)
    joules = amounts.get(f"pure_j:{BUSY}", 0.0) + amounts.get("mixed_j", 0.0)
    for state, power_w in rest_w.items():
        seconds = amounts.get(f"mixed_s:{state}", 0.0)
        if seconds > 0 and power_w is None:
            return f"ticks with passes were also {state}, and {_missing_reason(amounts, state)}"
        joules -= seconds * (power_w or 0.0)
    return joules / busy_s if joules > 0 else "its passes used less energy than the time around them"
