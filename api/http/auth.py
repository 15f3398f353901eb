"""Who sends a request, and what they may: the bearer key, looked up before anything else is read."""

from __future__ import annotations

from collections.abc import Callable

from flask import g, request

from api.http.limits import count_request
from api.services import services
from stentor.errors import KeyMissing, ScopeMissing
from stentor.owners.access import READ, SUBMIT, ApiKey

#: Methods that change nothing.
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})


def scoped(*, read: str = READ, write: str = SUBMIT) -> Callable[[], None]:
    """What a blueprint does before each request: find its key, see whether that has the scope, and count.

    Requests that only look need the scope ``read``, all others the scope ``write``.
    """

    def admit() -> None:
        authenticate()
        _demand(read if request.method in _LOOKS else write)
        count_request(key())

    return admit


def authenticate() -> None:
    """Find the request's key; ``key()`` tells it to the endpoint.

    Raises:
        KeyMissing: no ``Authorization: Bearer`` header.
        KeyInvalid: a key that was not given out.
        KeyExpired: a key whose time is over.
        RedisUnavailable: nobody can tell.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise KeyMissing("no API key; it is wanted in the header `Authorization: Bearer <key>`")
    g.api_key = services().api_keys.find(secret.strip())


def key() -> ApiKey:
    """The key that came with the request."""
    found: ApiKey = g.api_key
    return found


def owner() -> str:
    """Whose request this is."""
    return key().owner


def _demand(scope: str) -> None:
    has = key().scopes
    if scope not in has:
        raise ScopeMissing(
            f"the API key has the scopes {', '.join(has) or 'none'}; {request.method} {request.path} needs {scope!r}"
        )
