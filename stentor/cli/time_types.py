"""Types of options for times: durations, future times and past days."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from stentor.days import USAGE_KEPT_DAYS
from stentor.owners.usage import today

#: Unit of a duration -> seconds.
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: A duration such as 12h or 30d.
_SPAN = re.compile(r"([1-9]\d{0,5})([hd])")


class DurationType(click.ParamType[float]):
    """A duration such as ``30s``, ``10m``, ``2h`` or ``1d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The duration in seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", str(value))
        if not found or float(found[1]) == 0:
            self.fail(f"Not a duration: {value!r}. Use a number and a unit, such as 30s, 10m, 2h or 1d.", param, ctx)
        return float(found[1]) * UNITS_S[found[2]]


class FutureTime(click.ParamType[datetime]):
    """A time in the future: a duration from now, or the beginning of a day."""

    name = "when"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time in UTC."""
        if isinstance(value, datetime):
            return value
        now = datetime.now(UTC).replace(microsecond=0)
        when = now + span if (span := _span(value)) else _day_begin(value)
        if when is None:
            self.fail(
                f"Not a time: {value!r}. Use a duration such as 12h or 30d, or a date such as 2026-12-31.", param, ctx
            )
        if when <= now:
            self.fail(f"{value} is in the past. Use a time in the future.", param, ctx)
        return when


class PastDay(click.ParamType[date]):
    """A day in the past: a duration ago, or a date."""

    name = "when"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day in UTC, not before the oldest day of usage that is kept."""
        if isinstance(value, date):
            return value
        day = today() - span if (span := _span(value)) else _day_begin(value)
        if day is None:
            self.fail(f"Not a day: {value!r}. Use a duration such as 7d, or a date such as 2026-11-01.", param, ctx)
        found = day.date() if isinstance(day, datetime) else day
        return min(max(found, today() - timedelta(days=USAGE_KEPT_DAYS - 1)), today())


def _span(value: str) -> timedelta | None:
    found = _SPAN.fullmatch(value)
    return timedelta(seconds=int(found[1]) * UNITS_S[found[2]]) if found else None


def _day_begin(value: str) -> datetime | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return None
