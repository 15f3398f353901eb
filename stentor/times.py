"""Moments, which Stentor stores as Unix seconds, as dates and times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def utc_time(seconds: float) -> datetime: ...
@overload
def utc_time(seconds: None) -> None: ...
@overload
def utc_time(seconds: float | None) -> datetime | None: ...
def utc_time(seconds: float | None) -> datetime | None:
    """The moment as a time in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
