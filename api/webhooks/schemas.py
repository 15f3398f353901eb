"""Requests and responses of `/v1/webhooks`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from stentor.times import utc_time
from stentor.webhooks.webhook import DEFAULT_EVENTS, MAX_URL_CHARS, Delivery, Endpoint, Signing

EventName = Literal["job.succeeded", "job.failed", "job.canceled", "bulk.completed", "bulk.progress"]
DeliveryState = Literal["pending", "succeeded", "failed", "skipped"]

Url = Annotated[str, Field(max_length=MAX_URL_CHARS, description="Where to POST to: http or https.")]
Events = Annotated[list[EventName], Field(min_length=1, max_length=16, description="The events to send.")]
Description = Annotated[str, Field(max_length=512, description="Your note on the purpose.")]


def _require_rfc3339(value: Any) -> Any:
    """The value; pydantic alone would also accept a number."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("This is not a time. Write it as 2026-11-25T08:00:00Z.")
    return value


def _default_events() -> list[EventName]:
    return [*cast("tuple[EventName, ...]", DEFAULT_EVENTS)]


class WebhookRequest(BaseModel):
    """An endpoint that receives events."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url
    events: Events = Field(default_factory=_default_events)
    description: Description = ""


class WebhookChange(BaseModel):
    """Changes of an endpoint; absent fields stay."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    disabled: bool | None = Field(None, description="`true` stops sending, `false` resumes it.")


class ReplayRequest(BaseModel):
    """Which deliveries to send again."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[AwareDatetime, BeforeValidator(_require_rfc3339)] = Field(
        description="Only deliveries since then."
    )
    state: Literal["succeeded", "failed", "skipped"] | None = Field(None, description="Only deliveries in this state.")


class WebhookOut(BaseModel):
    """An endpoint. Times are RFC 3339 UTC."""

    id: str
    url: str = Field(description="For an implicit endpoint: scheme, host and port.")
    events: list[EventName]
    description: str
    disabled: bool
    disabled_reason: str | None = Field(description="Why the service disabled it.")
    implicit: bool = Field(description="Created for the `webhook_url` of a job or bulk.")
    created_at: datetime

    @classmethod
    def of(cls, endpoint: Endpoint) -> WebhookOut:
        """The endpoint as its owner sees it."""
        return cls.model_validate(_endpoint_fields(endpoint))


class WebhookCreatedOut(WebhookOut):
    """An endpoint with its secret, which is not shown again."""

    secret: str


def _endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "disabled": endpoint.disabled,
        "disabled_reason": endpoint.disabled_reason,
        "implicit": endpoint.implicit,
        "created_at": utc_time(endpoint.created_at),
    }


def created_response(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint with its secret."""
    created = WebhookCreatedOut.model_validate({**_endpoint_fields(endpoint), "secret": endpoint.signing.secret})
    return created.model_dump(mode="json")


class WebhooksOut(BaseModel):
    """All endpoints, oldest first, then the implicit ones."""

    webhooks: list[WebhookOut]
    next_cursor: None = None


class SecretOut(BaseModel):
    """The secret that signs webhooks to a `webhook_url`."""

    secret: str
    old_secret_until: datetime | None = Field(description="Until when the previous secret also signs.")

    @classmethod
    def of(cls, signing: Signing) -> SecretOut:
        """The secret as its owner sees it."""
        return cls(secret=signing.secret, old_secret_until=utc_time(signing.old_until) if signing.old_secret else None)


class AttemptOut(BaseModel):
    """One attempt."""

    at: datetime
    status: int | None = Field(description="HTTP status of the receiver's response, if there was one.")
    error: str | None = Field(description="Why the attempt failed.")
    took_s: float


class DeliveryOut(BaseModel):
    """One event for one endpoint, and its attempts."""

    id: str
    event_id: str = Field(description="`webhook-id`: the same at every attempt and replay.")
    type: str
    state: DeliveryState
    url: str
    created_at: datetime
    due_at: datetime | None = Field(description="When the next attempt is due.")
    settled_at: datetime | None
    attempts: list[AttemptOut] = Field(description="The last 20 attempts, oldest first.")
    payload: str = Field(description="The signed body.")

    @classmethod
    def of(cls, delivery: Delivery) -> DeliveryOut:
        """The delivery as its owner sees it."""
        return cls.model_validate(
            {
                "id": delivery.id,
                "event_id": delivery.event,
                "type": delivery.type,
                "state": delivery.state,
                "url": delivery.url,
                "created_at": utc_time(delivery.created_at),
                "due_at": utc_time(delivery.due_at),
                "settled_at": utc_time(delivery.settled_at),
                "attempts": [{**line, "at": utc_time(line["at"])} for line in delivery.log],
                "payload": delivery.payload,
            }
        )


class DeliveryPageOut(BaseModel):
    """One page of a list, newest first. Send `next_cursor` as `cursor` for the next page."""

    deliveries: list[DeliveryOut]
    next_cursor: str | None


class PingOut(BaseModel):
    """The delivery of a test event, which is created in a moment."""

    delivery_id: str


class ReplayOut(BaseModel):
    """The number of deliveries that are sent again."""

    replayed: int


class WebhookPath(BaseModel):
    """The endpoint in a path."""

    webhook_id: str = Field(description="The id of the endpoint.")


class DeliveryPath(WebhookPath):
    """A delivery of an endpoint in a path."""

    delivery_id: str = Field(description="The id of the delivery.")


class ListDeliveriesQuery(BaseModel):
    """Which deliveries to list."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState | None = Field(None, description="Only deliveries in this state.")
    limit: int = Field(50, ge=1, le=500, description="Maximum number of results.")
    cursor: str | None = Field(None, pattern=r"^whd_[0-9a-f]{26}$", description="`next_cursor` of the previous page.")
