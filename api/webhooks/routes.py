"""`/v1/webhooks`: the endpoints that receive events, and their deliveries."""

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
    created_response,
)
from stentor.errors import RequestError
from stentor.webhooks.webhook import Endpoint, check_url

TAGS = [Tag(name="webhooks")]
#: Path of one endpoint. An id is longer than `secret`, which has its own routes.
ENDPOINT_PATH = "/<string(minlength=7):webhook_id>"

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1/webhooks", abp_tags=TAGS, abp_security=[{"key": []}])
blueprint.before_request(authorize())


@blueprint.post("", responses={201: WebhookCreatedOut})
def add_webhook(body: WebhookRequest) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add an endpoint. Its secret is shown only in this response."""
    _check_url(body.url)
    endpoint = Endpoint(
        id=new_id("whe"),
        owner=owner(),
        url=body.url,
        events=tuple(dict.fromkeys(body.events)),
        description=body.description,
    )
    endpoint = services().webhooks.add(endpoint)
    return created_response(endpoint), 201, {"Location": f"/v1/webhooks/{endpoint.id}"}


@blueprint.get("", responses={200: WebhooksOut})
def list_webhooks(query: NoQuery) -> dict[str, Any]:
    """List your endpoints, then the implicit ones, which were created for a `webhook_url`."""
    found = [WebhookOut.of(endpoint) for endpoint in services().webhooks.list(owner())]
    return WebhooksOut(webhooks=found).model_dump(mode="json")


@blueprint.get(ENDPOINT_PATH, responses={200: WebhookOut})
def get_webhook(path: WebhookPath) -> dict[str, Any]:
    """Show an endpoint."""
    return WebhookOut.of(_endpoint(path)).model_dump(mode="json")


@blueprint.patch(ENDPOINT_PATH, responses={200: WebhookOut})
def change_webhook(path: WebhookPath, body: WebhookChange) -> dict[str, Any]:
    """Change an endpoint. Enabling it clears the reason why the service disabled it."""
    fields = body.model_dump(exclude_none=True)
    if body.url is not None:
        _check_url(body.url)
    if body.events is not None:
        fields["events"] = tuple(dict.fromkeys(body.events))
    if body.disabled is not None:
        fields["disabled_reason"] = None
    changed = services().webhooks.change(path.webhook_id, owner(), **fields)
    return WebhookOut.of(changed).model_dump(mode="json")


@blueprint.delete(ENDPOINT_PATH, responses={204: None})
def delete_webhook(path: WebhookPath) -> tuple[str, int]:
    """Delete an endpoint and its pending deliveries."""
    services().webhooks.delete(path.webhook_id, owner())
    return "", 204


@blueprint.post("/<webhook_id>/rotate", responses={200: WebhookCreatedOut})
def rotate_secret(path: WebhookPath) -> dict[str, Any]:
    """Create a new secret. Both sign for one day, so that receivers can be changed one by one."""
    return created_response(services().webhooks.rotate(path.webhook_id, owner()))


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
    """Show a delivery: its payload and the result of each attempt."""
    found = services().webhooks.delivery(_endpoint(path), path.delivery_id)
    return DeliveryOut.of(found).model_dump(mode="json")


@blueprint.post("/<webhook_id>/deliveries/<delivery_id>/replay", responses={202: DeliveryOut})
def replay_delivery(path: DeliveryPath) -> tuple[dict[str, Any], int]:
    """Send a delivery again, with the same id and body."""
    endpoint = _endpoint(path)
    found = services().webhooks.delivery(endpoint, path.delivery_id)
    return DeliveryOut.of(services().webhooks.replay(endpoint, found)).model_dump(mode="json"), 202


@blueprint.post("/<webhook_id>/replay", responses={202: ReplayOut})
def replay_deliveries(path: WebhookPath, body: ReplayRequest) -> tuple[dict[str, Any], int]:
    """Send all deliveries since a time again, or those in one state."""
    sent = services().webhooks.replay_since(_endpoint(path), body.since.timestamp(), state=body.state)
    return ReplayOut(replayed=sent).model_dump(mode="json"), 202


def _endpoint(path: WebhookPath) -> Endpoint:
    return services().webhooks.get(path.webhook_id, owner())


def _check_url(url: str) -> None:
    try:
        check_url(url, services().settings.webhook_allow)
    except RequestError as exc:
        raise Invalid([{"field": "url", "code": exc.code, "detail": exc.detail}]) from exc
