"""What is wrong with a webhook endpoint, its URL or its deliveries."""

from __future__ import annotations

from stentor.errors.base import ConflictError, NotFoundError, RequestError


class UrlInvalid(RequestError):
    """The text is not a URL that can be called."""


class UrlRefused(RequestError):
    """The URL leads to an address that is not public: private, loopback, link-local or metadata."""


class WebhookNotFound(NotFoundError):
    """The owner has no webhook endpoint with this id."""


class DeliveryNotFound(NotFoundError):
    """The endpoint has no delivery with this id, or it is no longer kept."""


class TooManyWebhooks(ConflictError):
    """The owner has as many webhook endpoints as allowed."""


class WebhookDisabled(ConflictError):
    """The webhook endpoint is disabled; nothing is sent to it."""
