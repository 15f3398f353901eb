"""Requests that wait for an outcome, and what becomes of those that may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, Response, g, request

from api.front.client import KEY, HttpClient
from api.http.auth import key
from api.services import services

T = TypeVar("T")

#: When to ask again after a wait that was not allowed, in seconds.
RETRY_AFTER_S = 2


def wait_for(awaited_id: str, look: Callable[[], T], timeout_s: float, *, over: Callable[[T], bool]) -> T:
    """What ``look`` finds once that is ``over``, or after ``timeout_s``, or when the client has left.

    Where no more waits are allowed it is what ``look`` finds now, and the answer gets a ``Retry-After``.
    """
    found = look()
    if over(found) or timeout_s <= 0:
        return found
    with services().wait_slots.slot(key().id) as allowed:
        if not allowed:
            g.retry_wait_after_s = RETRY_AFTER_S
            return found
        return services().outcomes.wait(awaited_id, look, timeout_s, over=over, client=http_client())


def http_client() -> HttpClient | None:
    """The other end of the request's connection; None in a server that is not ours."""
    return request.environ.get(KEY)


def install(app: Flask) -> None:
    """Let answers to waits that were not allowed say when to ask again."""
    app.after_request(_add_retry_after)


def _add_retry_after(response: Response) -> Response:
    if "retry_wait_after_s" in g:
        response.headers["Retry-After"] = str(g.retry_wait_after_s)
    return response
