"""Requests to the API: retries, idempotency keys, and errors."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from stentor.errors import ApiUnavailable, IdempotencyInFlight, Problem

CONNECT_TIMEOUT_S = 5.0
#: How long an answer may take in addition to the requested wait, in seconds.
ANSWER_TIMEOUT_S = 60.0
#: How long to retry while the API is away or overloaded, and the pause without Retry-After, in seconds.
PATIENCE_S, PAUSE_S = 30.0, 0.5
#: Failures after which the request was certainly not carried out, and those after which it may have been.
_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout)
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)


class Transport:
    """Sends requests to one API with one key. Safe for threads.

    A request is retried for ``patience_s`` while the API is away or answers 429 or 503, unless it asks to wait longer.
    It is also retried if its answer was lost: every POST has an idempotency key, so it is carried out once. (A DELETE
    whose answer was lost is not retried, because the second one would be refused.)
    """

    def __init__(self, url: str, key: str, *, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._patience_s = patience_s
        self.client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Do not use a proxy for a server on loopback.
            trust_env=not is_loopback(url),
        )

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def request(self, method: str, path: str, *, extra_s: float = 0, **rest: Any) -> httpx.Response:
        """Send a request, with retries; ``extra_s`` is added to the timeout.

        Raises:
            ApiUnavailable: the API does not answer.
            Problem: the API refuses the request.
        """
        deadline = time.monotonic() + self._patience_s
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S + extra_s, connect=CONNECT_TIMEOUT_S)
        # The same key for all retries.
        headers = {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        repeatable = _NEVER_ARRIVED if method == "DELETE" else _LOST
        while True:
            with self.transport_errors():
                try:
                    answer = self.client.request(method, path, timeout=timeout, headers=headers, **rest)
                except repeatable:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(PAUSE_S)
                    continue
            pause_s = _retry_after_s(answer)
            if not _is_temporary(answer) or time.monotonic() + pause_s > deadline:
                break
            time.sleep(pause_s)
        if answer.is_error:
            raise problem_of(answer)
        return answer

    @contextlib.contextmanager
    def transport_errors(self) -> Iterator[None]:
        """Turn errors of the connection into ``ApiUnavailable``."""
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise ApiUnavailable(f"{self.url} does not answer: {str(exc) or type(exc).__name__}") from exc


def _retry_after_s(answer: httpx.Response) -> float:
    with contextlib.suppress(ValueError):
        return max(0.1, float(answer.headers.get("Retry-After", "")))
    return PAUSE_S


def _is_temporary(answer: httpx.Response) -> bool:
    """Whether the refusal will end by itself: a limit, a missing service, or an earlier try that is still running."""
    return answer.status_code in (429, 503) or (
        answer.status_code == 409 and problem_of(answer).code == IdempotencyInFlight.code
    )


def problem_of(answer: httpx.Response) -> Problem:
    """The error in an answer of the API."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    return Problem(
        code=str(body.get("code", "http_error")),
        status=answer.status_code,
        detail=str(body.get("detail") or f"{answer.request.url} answered {answer.status_code}"),
        retryable=bool(body.get("retryable", answer.status_code in (429, 503))),
        errors=body.get("errors") or (),
    )


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are set."""
    return {name: value for name, value in values.items() if value is not None}


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this machine."""
    with contextlib.suppress(httpx.InvalidURL):
        return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
    return False
