"""`/v1/cost`: what speech cost in time, energy and money, and what was saved."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.cost.figures import Prices
from api.cost.report import report
from api.cost.schemas import CostOut, CostQuery
from api.cost.usage import period
from api.http.auth import authorize
from api.services import services
from stentor.owners.access import ADMIN

blueprint = APIBlueprint(
    "cost", __name__, url_prefix="/v1/cost", abp_tags=[Tag(name="cost")], abp_security=[{"key": []}]
)
# The report shows all owners.
blueprint.before_request(authorize(read=ADMIN))


@blueprint.get("", responses={200: CostOut})
def get_cost(query: CostQuery) -> dict[str, Any]:
    """Show what all devices did, used and cost by day, device and key, and what each measure saved."""
    since, until = period(query)
    made = report(
        services().bill.days(since=since, until=until),
        services().usage.of_all(since=since, until=until, known=services().key_store.list()),
        since=since,
        until=until,
        prices=_prices(query),
    )
    slots = services().bill.slots(until) if query.slots else None
    return CostOut.of(made, slots).model_dump(mode="json")


def _prices(query: CostQuery) -> Prices:
    settings = services().settings
    return Prices(
        kwh=settings.price_kwh if query.price_kwh is None else query.price_kwh,
        gpu_hour=settings.price_gpu_hour if query.price_gpu_hour is None else query.price_gpu_hour,
    )
