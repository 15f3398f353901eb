"""How much a key may: its own limits, and the service's where it has none."""

from __future__ import annotations

from api.services import services
from stentor.access import ApiKey, Limits


def limits_of(key: ApiKey) -> Limits:
    """The limits that hold for a key."""
    own, common = key.limits, services().settings
    return Limits(
        rate=own.rate or common.rate_limit,
        daily_chars=common.daily_chars if own.daily_chars is None else own.daily_chars,
        waiting_jobs=common.max_waiting_jobs if own.waiting_jobs is None else own.waiting_jobs,
    )
