"""Authentication: the bearer key of a request, its owner and its scopes, checked before the body is read."""

from __future__ import annotations

from collections.abc import Callable

from flask import g, request

from api.http.limits import count_request
from api.services import services
from stentor.errors import KeyMissing, ScopeMissing
from stentor.owners.access import READ, SUBMIT, ApiKey

#: Methods that change nothing.
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def authorize(*, read: str = READ, write: str = SUBMIT) -> Callable[[], None]:
    """A hook for a blueprint: authenticate each request, check the scope of its key, and count it.

    Requests that change nothing need the scope ``read``, all others the scope ``write``.
    """

    def admit() -> None:
        authenticate()
        _require_scope(read if request.method in _READ_METHODS else write)
        count_request(key())

    return admit


def authenticate() -> None:
    """Find the request's key; ``key()`` returns it to the endpoint.

    Raises:
        KeyMissing: no ``Authorization: Bearer`` header.
        KeyInvalid: the key was never issued, or was revoked.
        KeyExpired: the key has expired.
        RedisUnavailable: Redis does not answer.
    """
    g.api_key = services().api_keys.find(bearer(request.headers.get("Authorization", "")))


def bearer(authorization: str) -> str:
    """The secret in an ``Authorization`` header.

    Raises:
        KeyMissing: there is none.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise KeyMissing("Missing API key. Send `Authorization: Bearer <key>`.")
    return secret.strip()


def key() -> ApiKey:
    """The key that came with the request."""
    found: ApiKey = g.api_key
    return found


def owner() -> str:
    """The owner of the key."""
    return key().owner


def _require_scope(scope: str) -> None:
    has = key().scopes
    if scope not in has:
        raise ScopeMissing(
            f"{request.method} {request.path} needs the scope {scope!r}. The API key has: {', '.join(has) or 'none'}."
        )
