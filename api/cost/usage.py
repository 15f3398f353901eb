"""`/v1/usage`: what the owner's keys used, by key and day."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth import authorize, owner
from api.services import services
from stentor.days import USAGE_KEPT_DAYS
from stentor.owners.usage import Usage, today

#: Length of the period if the request does not set its begin: today and the 29 days before.
DEFAULT_DAYS = 30

blueprint = APIBlueprint(
    "usage", __name__, url_prefix="/v1/usage", abp_tags=[Tag(name="usage")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


def _require_iso_date(value: Any) -> Any:
    """The value; pydantic alone would also accept seconds since the epoch."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("This is not a date. Write it as 2026-11-25.")
    return value


Day = Annotated[date, BeforeValidator(_require_iso_date)]


class DaysQuery(BaseModel):
    """The period in UTC, first and last day included."""

    model_config = ConfigDict(extra="forbid")

    since: Day | None = Field(None, description="The first day. Default: 29 days before the last.")
    until: Day | None = Field(None, description="The last day. Default: today.")


class AmountsOut(BaseModel):
    """What was used."""

    jobs: int = Field(description="Succeeded jobs, including cached ones.")
    characters: int = Field(description="Submitted characters.")
    audio_s: float
    device_s: float = Field(description="Device time; a cached job uses none.")


class DayUsageOut(AmountsOut):
    """What one key used on one day."""

    date: date
    key_id: str
    key_name: str = Field(description="Empty for a revoked key.")


class UsageOut(BaseModel):
    """What the owner's keys used, oldest day first; days without use are left out."""

    usage: list[DayUsageOut]
    totals: AmountsOut


@blueprint.get("", responses={200: UsageOut})
def get_usage(query: DaysQuery) -> dict[str, Any]:
    """Show what your keys used by key and day: characters, audio, device time."""
    since, until = period(query)
    found = services().usage.of(owner(), since=since, until=until, known=services().key_store.list())
    return UsageOut(usage=[_day_usage(usage) for usage in found], totals=_totals(found)).model_dump(mode="json")


def period(query: DaysQuery) -> tuple[date, date]:
    """The first and the last day of the query, limited to the days for which records can exist."""
    until = query.until or today()
    since = query.since or date.fromordinal(max(1, until.toordinal() - DEFAULT_DAYS + 1))
    return max(since, today() - timedelta(days=USAGE_KEPT_DAYS - 1)), min(until, today())


def _day_usage(usage: Usage) -> DayUsageOut:
    return DayUsageOut.model_validate(usage, from_attributes=True)


def _totals(found: list[Usage]) -> AmountsOut:
    return AmountsOut(
        jobs=sum(usage.jobs for usage in found),
        characters=sum(usage.characters for usage in found),
        audio_s=round(sum(usage.audio_s for usage in found), 3),
        device_s=round(sum(usage.device_s for usage in found), 3),
    )
