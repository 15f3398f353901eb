"""The figures of several devices together. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from api.cost.figures import Figures, Prices, partial_energy_reason, price_figures
from api.cost.savings import Saved, Savings
from stentor.bill import STATES


def combine(parts: Mapping[str, Figures], characters: float, prices: Prices) -> Figures:
    """All devices together. Energy and saved energy are those of the devices where it is measured."""
    measured = {device: part for device, part in parts.items() if part.energy_j is not None}
    silent = sorted(set(parts) - set(measured))
    sources = {part.energy_from for part in measured.values()}
    reasons = {"energy_j": f"no energy was measured on {', '.join(silent)}" if silent else "no device was running"}
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
        savings=_total_savings(parts, measured),
        characters=characters,
        reasons=reasons if silent or not parts else partial_energy_reason(measured),
    )
    figures = price_figures(figures, prices, audio_s=sum(part.audio_s for part in measured.values()))
    return _add_energy_per_character(figures, [device for device in silent if parts[device].audio_s > 0])


def _add_energy_per_character(figures: Figures, silent: Sequence[str]) -> Figures:
    """The figures with the energy per submitted character, or the reason why it is unknown.

    It includes all characters, because it is unknown which device spoke which.
    """
    characters, energy_j = figures.characters or 0.0, figures.energy_j
    why = ""
    if energy_j is None:
        why = figures.reasons["energy_j"]
    elif silent:
        why = f"{', '.join(silent)} also made audio, without measured energy"
    elif characters <= 0:
        why = "no characters were submitted"
    if why or energy_j is None:
        return dataclasses.replace(figures, reasons={**figures.reasons, "j_per_million_characters": why})
    return dataclasses.replace(figures, j_per_million_characters=energy_j / (characters / 1e6))


def _total_savings(parts: Mapping[str, Figures], measured: Mapping[str, Figures]) -> Savings:
    def one(trick: str) -> Saved:
        saved: dict[str, Saved] = {device: getattr(part.savings, trick) for device, part in parts.items()}
        return Saved(
            energy_j=_sum({device: saved[device].energy_j for device in measured}),
            device_s=_sum({device: one.device_s for device, one in saved.items()}),
            reason="; ".join(f"{device}: {one.reason}" for device, one in sorted(saved.items()) if one.reason),
        )

    return Savings(clocks=one("clocks"), unloading=one("unloading"), merging=one("merging"))


def _sum(parts: Mapping[str, float | None]) -> float | None:
    """The sum; None if there is nothing to add, or a part is unknown."""
    known = [part for part in parts.values() if part is not None]
    return sum(known) if known and len(known) == len(parts) else None
