"""What is wrong with a request whatever it is about: its path, body, fields and idempotency key."""

from __future__ import annotations

from stentor.errors.base import ConflictError, NotFoundError, RequestError


class JsonInvalid(RequestError):
    """The body is not JSON."""

    status = 400


class HostInvalid(RequestError):
    """The `Host` header is not a host name or address."""

    status = 400


class BodyTooLarge(RequestError):
    """The body has more bytes than the service reads."""

    status = 413


class BodyTooSlow(RequestError):
    """The body came more slowly than a client may send."""

    status = 408
    retryable = True


class BodyBroken(RequestError):
    """The body is not framed as HTTP/1.1 requires: a chunk size is not a number, for example."""

    status = 400


class ContentTypeUnsupported(RequestError):
    """The endpoint does not read this content type."""

    status = 415


class FieldInvalid(RequestError):
    """A field is missing, unknown, of the wrong type or out of range."""


class IdempotencyKeyReused(RequestError):
    """The idempotency key was already used for a different request."""


class IdempotencyInFlight(ConflictError):
    """The first request with this idempotency key has no answer yet."""

    retryable = True
    retry_after_s = 1.0


class PathUnknown(NotFoundError):
    """No endpoint has this path."""
