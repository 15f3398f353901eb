"""Days: their length, and how long counts by day are kept."""

from __future__ import annotations

from typing import Final

DAY_S: Final = 86_400
#: How long the usage and the bill of a day are kept: a year, and time to look at it.
USAGE_KEPT_DAYS: Final = 400
USAGE_KEPT_S: Final = USAGE_KEPT_DAYS * DAY_S
