"""What goes in and out of `/v1/webhooks`, as pydantic models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from stentor.webhooks.webhook import DEFAULT_EVENTS, MAX_URL_CHARS, Delivery, Endpoint, Signing

EventName = Literal["job.succeeded", "job.failed", "job.canceled", "bulk.completed", "bulk.progress"]
DeliveryState = Literal["pending", "succeeded", "failed", "skipped"]

Url = Annotated[str, Field(max_length=MAX_URL_CHARS, description="Where to POST to: http or https.")]
Events = Annotated[list[EventName], Field(min_length=1, max_length=16, description="What to tell.")]
Description = Annotated[str, Field(max_length=512, description="Yours: what it is for.")]


def _moment(value: Any) -> Any:
    """RFC 3339 and nothing else: pydantic would take a number too."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("a time as 2026-11-25T08:00:00Z is wanted")
    return value


def _default_events() -> list[EventName]:
    return [*cast("tuple[EventName, ...]", DEFAULT_EVENTS)]


class WebhookRequest(BaseModel):
    """An endpoint to be told of what happens."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url
    events: Events = Field(default_factory=_default_events)
    description: Description = ""


class WebhookChange(BaseModel):
    """What to change of an endpoint; what is absent stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    disabled: bool | None = Field(None, description="`true`: send nothing. `false`: send again.")


class ReplayRequest(BaseModel):
    """Which deliveries to send once more."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[AwareDatetime, BeforeValidator(_moment)] = Field(description="Those made since then.")
    state: Literal["succeeded", "failed", "skipped"] | None = Field(None, description="Only those in this state.")


class WebhookOut(BaseModel):
    """An endpoint. Times are RFC 3339 UTC."""

    id: str
    url: str = Field(description="Of an implicit one scheme, host and port.")
    events: list[EventName]
    description: str
    disabled: bool
    disabled_reason: str | None = Field(description="Why the service disabled it.")
    implicit: bool = Field(description="Made by a `webhook_url` of a job or bulk.")
    created_at: datetime

    @classmethod
    def of(cls, endpoint: Endpoint) -> WebhookOut:
        """The endpoint as its owner sees it."""
        return cls.model_validate(shown(endpoint))


class WebhookCreatedOut(WebhookOut):
    """An endpoint with its secret, which is not shown again."""

    secret: str


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint's fields that are shown."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "disabled": endpoint.disabled,
        "disabled_reason": endpoint.disabled_reason,
        "implicit": endpoint.implicit,
        "created_at": _time(endpoint.created_at),
    }


def with_secret(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint, and its secret this once."""
    created = WebhookCreatedOut.model_validate({**shown(endpoint), "secret": endpoint.signing.secret})
    return created.model_dump(mode="json")


class WebhooksOut(BaseModel):
    """All endpoints, oldest first, then implicit ones."""

    webhooks: list[WebhookOut]
    next_cursor: None = None


class SecretOut(BaseModel):
    """What signs webhooks to a `webhook_url`."""

    secret: str
    old_secret_until: datetime | None = Field(description="Until when the secret before it signs too.")

    @classmethod
    def of(cls, signing: Signing) -> SecretOut:
        """The secret, shown."""
        return cls(secret=signing.secret, old_secret_until=_time(signing.old_until) if signing.old_secret else None)


class AttemptOut(BaseModel):
    """One attempt."""

    at: datetime
    status: int | None = Field(description="What the receiver answered, if it did.")
    error: str | None = Field(description="Why it was no success.")
    took_s: float


class DeliveryOut(BaseModel):
    """One event for one endpoint, and how it went."""

    id: str
    event_id: str = Field(description="`webhook-id`: the same at every attempt and replay.")
    type: str
    state: DeliveryState
    url: str
    created_at: datetime
    due_at: datetime | None = Field(description="When it is tried next.")
    settled_at: datetime | None
    attempts: list[AttemptOut] = Field(description="The last 20, the latest last.")
    payload: str = Field(description="The body, as it is signed.")

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
                "created_at": _time(delivery.created_at),
                "due_at": _time(delivery.due_at),
                "settled_at": _time(delivery.settled_at),
                "attempts": [{**line, "at": _time(line["at"])} for line in delivery.log],
                "payload": delivery.payload,
            }
        )


class DeliveryPageOut(BaseModel):
    """Part of a list, newest first; `next_cursor` asks for the rest."""

    deliveries: list[DeliveryOut]
    next_cursor: str | None


class PingOut(BaseModel):
    """The delivery of a test event, which is there in a moment."""

    delivery_id: str


class ReplayOut(BaseModel):
    """How many deliveries are sent once more."""

    replayed: int


class WebhookPath(BaseModel):
    """The endpoint in a path."""

    webhook_id: str = Field(description="An endpoint's id.")


class DeliveryPath(WebhookPath):
    """A delivery of an endpoint in a path."""

    delivery_id: str = Field(description="A delivery's id.")


class ListDeliveriesQuery(BaseModel):
    """Which deliveries to list."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState | None = Field(None, description="Only deliveries in this state.")
    limit: int = Field(50, ge=1, le=500, description="At most so many.")
    cursor: str | None = Field(None, pattern=r"^whd_[0-9a-f]{26}$", description="`next_cursor` of the page before.")


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
