"""How long a model's passes take on a device, and what merging texts into one pass saved. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from api.cost.fitting import determines, non_negative
from stentor.bill import sums_in
from stentor.devices.passes import NAMES

#: A curve is fitted to at least this number of passes: fewer are mostly noise.
MIN_PASSES: Final = 10
#: Names of the sums of products of 1, the longest row (l) and the padded cost (p), and of each with the time (t).
_GRAM: Final = (("n", "l", "p"), ("l", "ll", "lp"), ("p", "lp", "pp"))
_MOMENTS: Final = ("t", "lt", "pt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Duration of a model's passes on a device: ``fixed_s + per_longest_s x l + per_padded_s x p``."""

    model: str
    passes: float
    rows: float
    fixed_s: float | None = None
    per_longest_s: float | None = None
    per_padded_s: float | None = None
    #: How much longer its rows would have taken one by one.
    saved_s: float | None = None
    #: Why ``saved_s`` is unknown.
    reason: str = ""


def curves(amounts: Mapping[str, float], fitted_to: Mapping[str, float]) -> list[Curve]:
    """Each model's curve, fitted to the passes in ``fitted_to`` and applied to those in ``amounts``."""
    basis = sums_in(fitted_to)
    return [_curve(model, _by_name(sums), _by_name(basis[model])) for model, sums in sums_in(amounts).items()]


def _by_name(sums: Sequence[float]) -> dict[str, float]:
    return dict(zip(NAMES, sums, strict=True))


def _curve(model: str, sums: Mapping[str, float], basis: Mapping[str, float]) -> Curve:
    # How much more of each the rows would have had one by one: fixed parts, longest rows, padded costs.
    more = (sums["rows"] - sums["n"], sums["cost"] - sums["l"], sums["cost"] - sums["p"])
    curve = Curve(model=model, passes=sums["n"], rows=sums["rows"])
    if more[0] <= 0:
        return dataclasses.replace(curve, saved_s=0.0)
    if basis["n"] < MIN_PASSES:
        why = f"{basis['n']:.0f} passes are too few for a curve; it needs {MIN_PASSES}"
        return dataclasses.replace(curve, reason=why)
    gram = [[basis[name] for name in row] for row in _GRAM]
    if not determines(gram, more):
        why = "its passes were too similar to compute how long one row takes alone"
        return dataclasses.replace(curve, reason=why)
    fixed_s, per_longest_s, per_padded_s = non_negative(gram, [basis[name] for name in _MOMENTS])
    return dataclasses.replace(
        curve,
        fixed_s=fixed_s,
        per_longest_s=per_longest_s,
        per_padded_s=per_padded_s,
        saved_s=more[0] * fixed_s + more[1] * per_longest_s + more[2] * per_padded_s,
    )
