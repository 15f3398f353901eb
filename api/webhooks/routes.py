"""`/v1/webhooks`: who is told of what happens, and how that went."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.http.auth import authorize, owner
from api.http.idempotency import new_id
from api.http.problems import Invalid
from api.http.schemas import NoQuery
from api.services import services
from api.webhooks.schemas import (
    DeliveryOut,
    DeliveryPageOut,
    DeliveryPath,
    ListDeliveriesQuery,
    PingOut,
    ReplayOut,
    ReplayRequest,
    WebhookChange,
    WebhookCreatedOut,
    WebhookOut,
    WebhookPath,
    WebhookRequest,
    WebhooksOut,
    with_secret,
)
from stentor.errors import RequestError
from stentor.webhooks.webhook import Endpoint, check_url

TAGS = [Tag(name="webhooks")]
#: An id is longer than `secret`, whose path is not one of an endpoint.
ONE = "/<string(minlength=7):webhook_id>"

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1/webhooks", abp_tags=TAGS, abp_security=[{"key": []}])
blueprint.before_request(authorize())


@blueprint.post("", responses={201: WebhookCreatedOut})
def add_webhook(body: WebhookRequest) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add an endpoint. Its secret is shown this once."""
    _check(body.url)
    endpoint = Endpoint(
        id=new_id("whe"),
        owner=owner(),
        url=body.url,
        events=tuple(dict.fromkeys(body.events)),
        description=body.description,
    )
    endpoint = services().webhooks.add(endpoint)
    return with_secret(endpoint), 201, {"Location": f"/v1/webhooks/{endpoint.id}"}


@blueprint.get("", responses={200: WebhooksOut})
def list_webhooks(query: NoQuery) -> dict[str, Any]:
    """List your endpoints; after them the implicit ones, which a `webhook_url` made."""
    found = [WebhookOut.of(endpoint) for endpoint in services().webhooks.list(owner())]
    return WebhooksOut(webhooks=found).model_dump(mode="json")


@blueprint.get(ONE, responses={200: WebhookOut})
def get_webhook(path: WebhookPath) -> dict[str, Any]:
    """Look at an endpoint."""
    return WebhookOut.of(_endpoint(path)).model_dump(mode="json")


@blueprint.patch(ONE, responses={200: WebhookOut})
def change_webhook(path: WebhookPath, body: WebhookChange) -> dict[str, Any]:
    """Change an endpoint; enabling it takes the service's reason away."""
    fields = body.model_dump(exclude_none=True)
    if body.url is not None:
        _check(body.url)
    if body.events is not None:
        fields["events"] = tuple(dict.fromkeys(body.events))
    if body.disabled is not None:
        fields["disabled_reason"] = None
    changed = services().webhooks.change(path.webhook_id, owner(), **fields)
    return WebhookOut.of(changed).model_dump(mode="json")


@blueprint.delete(ONE, responses={204: None})
def delete_webhook(path: WebhookPath) -> tuple[str, int]:
    """Delete an endpoint, and what was to be sent to it."""
    services().webhooks.delete(path.webhook_id, owner())
    return "", 204


@blueprint.post("/<webhook_id>/rotate", responses={200: WebhookCreatedOut})
def rotate_secret(path: WebhookPath) -> dict[str, Any]:
    """Make a new secret. For a day both sign, so that receivers can be changed one by one."""
    return with_secret(services().webhooks.rotate(path.webhook_id, owner()))


@blueprint.post("/<webhook_id>/ping", responses={202: PingOut})
def ping_webhook(path: WebhookPath) -> tuple[dict[str, Any], int]:
    """Send the event `webhook.ping`."""
    endpoint = _endpoint(path)
    return PingOut(delivery_id=services().webhooks.ping(endpoint)).model_dump(mode="json"), 202


@blueprint.get("/<webhook_id>/deliveries", responses={200: DeliveryPageOut})
def list_deliveries(path: WebhookPath, query: ListDeliveriesQuery) -> dict[str, Any]:
    """List an endpoint's deliveries, newest first."""
    page = services().webhooks.deliveries(_endpoint(path), state=query.state, limit=query.limit, after=query.cursor)
    found = [DeliveryOut.of(delivery) for delivery in page.deliveries]
    return DeliveryPageOut(deliveries=found, next_cursor=page.next_cursor).model_dump(mode="json")


@blueprint.get("/<webhook_id>/deliveries/<delivery_id>", responses={200: DeliveryOut})
def get_delivery(path: DeliveryPath) -> dict[str, Any]:
    """Look at a delivery: what was sent, and how each attempt went."""
    found = services().webhooks.delivery(_endpoint(path), path.delivery_id)
    return DeliveryOut.of(found).model_dump(mode="json")


@blueprint.post("/<webhook_id>/deliveries/<delivery_id>/replay", responses={202: DeliveryOut})
def replay_delivery(path: DeliveryPath) -> tuple[dict[str, Any], int]:
    """Send a delivery once more, with the same id and body."""
    endpoint = _endpoint(path)
    found = services().webhooks.delivery(endpoint, path.delivery_id)
    return DeliveryOut.of(services().webhooks.replay(endpoint, found)).model_dump(mode="json"), 202


@blueprint.post("/<webhook_id>/replay", responses={202: ReplayOut})
def replay_deliveries(path: WebhookPath, body: ReplayRequest) -> tuple[dict[str, Any], int]:
    """Send all deliveries since a time once more, or those of one state."""
    sent = services().webhooks.replay_since(_endpoint(path), body.since.timestamp(), state=body.state)
    return ReplayOut(replayed=sent).model_dump(mode="json"), 202


def _endpoint(path: WebhookPath) -> Endpoint:
    return services().webhooks.get(path.webhook_id, owner())


def _check(url: str) -> None:
    try:
        check_url(url, services().settings.webhook_allow)
    except RequestError as exc:
        raise Invalid([{"field": "url", "code": exc.code, "detail": exc.detail}]) from exc
