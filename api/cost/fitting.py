"""Least squares with coefficients that are not negative, for a handful of them, from sums instead of samples. Pure.

Times of a pass are ``t = x1 f1 + x2 f2 + ...``; ``gram[i][j]`` is the sum of ``fi fj`` over all passes, and
``moments[i]`` the sum of ``fi t``. A pass that costs more takes no less time, hence no negative coefficient
(Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23; with so few, all sets of columns are tried).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

Matrix = Sequence[Sequence[float]]

#: A column of which no more than this is its own says nothing beyond the others: sums of floats cannot tell them apart.
DEPENDENT: Final = 1e-9
#: What may be left of a combination of coefficients, as a part of it, that the data determine.
LEFT_OVER: Final = 1e-6


def non_negative(gram: Matrix, moments: Sequence[float]) -> tuple[float, ...]:
    """The coefficients, none below 0, that fit best; where several sets do, one of those."""
    scales = _scales(gram)
    scaled, wanted = _scale_rows(gram, scales), [_over(m, s) for m, s in zip(moments, scales, strict=True)]
    best, least = [0.0] * len(moments), 0.0
    for count in range(1, len(moments) + 1):
        for columns in itertools.combinations(range(len(moments)), count):
            found = _solve([[scaled[i][j] for j in columns] for i in columns], [wanted[i] for i in columns])
            if found is None or min(found) < 0:
                continue
            # Up to a constant the sum of squared errors, at its least.
            error = -sum(x * wanted[i] for x, i in zip(found, columns, strict=True))
            if error < least:
                best, least = [0.0] * len(moments), error
                for x, i in zip(found, columns, strict=True):
                    best[i] = x
    return tuple(_over(x, s) for x, s in zip(best, scales, strict=True))


def determines(gram: Matrix, weights: Sequence[float]) -> bool:
    """Whether the data say what ``sum(weights[i] x[i])`` is, even if they leave single coefficients open."""
    scales = _scales(gram)
    if any(weight and not scale for weight, scale in zip(weights, scales, strict=True)):
        return False
    wanted = [_over(weight, scale) for weight, scale in zip(weights, scales, strict=True)]
    size = math.sqrt(sum(value * value for value in wanted)) or 1.0
    left = _eliminate(_scale_rows(gram, scales), [value / size for value in wanted])[1]
    return max((abs(value) for value in left), default=0.0) <= LEFT_OVER


def _solve(gram: Matrix, wanted: Sequence[float]) -> list[float] | None:
    """The solution of ``gram x = wanted``; None when the columns are not independent."""
    steps, left = _eliminate(gram, wanted)
    if left:
        return None
    found = [0.0] * len(wanted)
    for pivot, row, value in reversed(steps):
        found[pivot] = (value - sum(row[j] * x for j, x in enumerate(found) if j != pivot)) / row[pivot]
    return found


def _eliminate(gram: Matrix, wanted: Sequence[float]) -> tuple[list[tuple[int, list[float], float]], list[float]]:
    """Gauss's steps as (pivot, row, value), the largest diagonal first, and what the remaining rows need.

    Rows are left over that depend on the others.
    """
    rows, values = [list(row) for row in gram], list(wanted)
    steps: list[tuple[int, list[float], float]] = []
    waiting = list(range(len(rows)))
    while waiting:
        pivot = max(waiting, key=lambda i: rows[i][i])
        if rows[pivot][pivot] <= DEPENDENT:
            break
        waiting.remove(pivot)
        steps.append((pivot, rows[pivot], values[pivot]))
        for i in waiting:
            factor = rows[i][pivot] / rows[pivot][pivot]
            rows[i] = [mine - factor * other for mine, other in zip(rows[i], rows[pivot], strict=True)]
            rows[i][pivot] = 0.0
            values[i] -= factor * values[pivot]
    return steps, [values[i] for i in waiting]


def _scales(gram: Matrix) -> list[float]:
    return [math.sqrt(gram[i][i]) for i in range(len(gram))]


def _scale_rows(gram: Matrix, scales: Sequence[float]) -> list[list[float]]:
    return [[_over(_over(value, scales[i]), scales[j]) for j, value in enumerate(row)] for i, row in enumerate(gram)]


def _over(value: float, scale: float) -> float:
    return value / scale if scale else 0.0
