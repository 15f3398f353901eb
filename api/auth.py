"""Who sends a request: the bearer key, looked up before anything else is read."""

from __future__ import annotations

from flask import g, request

from api.services import services
from stentor.errors import KeyMissing


def authenticate() -> None:
    """Find the owner of the request's key; ``owner()`` tells it to the endpoint.

    Raises:
        KeyMissing: no ``Authorization: Bearer`` header.
        KeyInvalid: a key that was not given out.
        RedisUnavailable: nobody can tell.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise KeyMissing("no API key; it is wanted in the header `Authorization: Bearer <key>`")
    g.api_key = services().api_keys.find(secret.strip())


def owner() -> str:
    """Whose request this is."""
    name: str = g.api_key.owner
    return name
