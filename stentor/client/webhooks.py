"""The part of the client for webhooks."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from stentor.client.transport import Transport, without_none


class WebhookCalls:
    """Calls for webhook endpoints and their deliveries."""

    http: Transport

    def webhooks(self) -> list[dict[str, Any]]:
        """All webhook endpoints, including implicit ones."""
        return cast("list[dict[str, Any]]", self.http.request("GET", "/v1/webhooks").json()["webhooks"])

    def add_webhook(self, url: str, **fields: Any) -> dict[str, Any]:
        """Add a webhook endpoint; only this answer contains its secret."""
        return cast("dict[str, Any]", self.http.request("POST", "/v1/webhooks", json={"url": url, **fields}).json())

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook endpoint."""
        self.http.request("DELETE", _path(webhook_id))

    def ping_webhook(self, webhook_id: str) -> str:
        """Send a test event; return the id of its delivery."""
        return cast("str", self.http.request("POST", f"{_path(webhook_id)}/ping").json()["delivery_id"])

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """One page of an endpoint's deliveries, newest first: ``deliveries`` and ``next_cursor``."""
        params = without_none({"state": state, "limit": limit, "cursor": cursor})
        return cast("dict[str, Any]", self.http.request("GET", f"{_path(webhook_id)}/deliveries", params=params).json())

    def replay(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        """Send a delivery again, and return it."""
        path = f"{_path(webhook_id)}/deliveries/{quote(delivery_id, safe='')}/replay"
        return cast("dict[str, Any]", self.http.request("POST", path).json())

    def replay_since(self, webhook_id: str, since: str, *, state: str | None = None) -> int:
        """Send deliveries created since a time (RFC 3339) again; return their number."""
        body = {"since": since, **({"state": state} if state else {})}
        return cast("int", self.http.request("POST", f"{_path(webhook_id)}/replay", json=body).json()["replayed"])

    def webhook_secret(self) -> str:
        """The secret that signs webhooks to the ``webhook_url`` of jobs and bulks."""
        return cast("str", self.http.request("GET", "/v1/webhooks/secret").json()["secret"])


def _path(webhook_id: str) -> str:
    return f"/v1/webhooks/{quote(webhook_id, safe='')}"
