"""`/v1/usage`: what the owner's keys used, per key and day."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth import owner, scoped
from api.services import services
from stentor.days import USAGE_KEPT_DAYS
from stentor.owners.usage import Usage, today

#: Days that are told when nobody says since when: today and the 29 before.
DEFAULT_DAYS = 30

blueprint = APIBlueprint(
    "usage", __name__, url_prefix="/v1/usage", abp_tags=[Tag(name="usage")], abp_security=[{"key": []}]
)
blueprint.before_request(scoped())


def _written_out(value: Any) -> Any:
    """Pydantic takes a number for seconds since the epoch; JSON Schema knows only dates."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("a date is wanted, as 2026-11-25")
    return value


Day = Annotated[date, BeforeValidator(_written_out)]


class DaysQuery(BaseModel):
    """Which days, both included, in UTC."""

    model_config = ConfigDict(extra="forbid")

    since: Day | None = Field(None, description="The first day; 29 days before the last if absent.")
    until: Day | None = Field(None, description="The last day; today if absent.")


class AmountsOut(BaseModel):
    """How much was used."""

    jobs: int = Field(description="Jobs that succeeded, cached ones among them.")
    characters: int = Field(description="Characters that were submitted.")
    audio_s: float
    device_s: float = Field(description="Time of devices; a cached job takes none.")


class DayUsageOut(AmountsOut):
    """What one key used on one day."""

    date: date
    key_id: str
    key_name: str = Field(description="Empty for a key that was revoked.")


class UsageOut(BaseModel):
    """What the owner's keys used, oldest day first; days without any are left out."""

    usage: list[DayUsageOut]
    totals: AmountsOut


@blueprint.get("", responses={200: UsageOut})
def get_usage(query: DaysQuery) -> dict[str, Any]:
    """What your keys used, per key and day: characters, audio, time of devices."""
    since, until = days(query)
    found = services().usage.of(owner(), since=since, until=until, known=services().key_store.list())
    return UsageOut(usage=[_out(usage) for usage in found], totals=_totals(found)).model_dump(mode="json")


def days(query: DaysQuery) -> tuple[date, date]:
    """The first and the last day that are asked for, as far as something can be known of them."""
    until = query.until or today()
    since = query.since or date.fromordinal(max(1, until.toordinal() - DEFAULT_DAYS + 1))
    # Nothing is known of days before, and nothing can be of days to come.
    return max(since, today() - timedelta(days=USAGE_KEPT_DAYS - 1)), min(until, today())


def _out(usage: Usage) -> DayUsageOut:
    return DayUsageOut.model_validate(usage, from_attributes=True)


def _totals(found: list[Usage]) -> AmountsOut:
    return AmountsOut(
        jobs=sum(usage.jobs for usage in found),
        characters=sum(usage.characters for usage in found),
        audio_s=round(sum(usage.audio_s for usage in found), 3),
        device_s=round(sum(usage.device_s for usage in found), 3),
    )
