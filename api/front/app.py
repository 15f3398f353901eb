"""The ASGI application that stands in front of Flask."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from flask import Flask

from api.front.body import Body, Receive, read_body
from api.front.client import KEY, HttpClient
from api.front.wsgi import Send, WsgiCall, environ_of
from api.http.auth import bearer
from api.http.problems import CONTENT_TYPE, problem_body
from api.http.uploads import upload_limit
from api.services import Services
from stentor.errors import StentorError

#: Largest body of a request without a valid key, in bytes. Flask refuses it for its key, whatever the body is.
NO_KEY_BYTES = 64 * 1024
#: Threads for each path that load balancers probe, apart from all others: probes answer while the others are busy.
PROBES = {"/healthz": 1, "/readyz": 2}


class Front:
    """Reads whole requests and hands each to a thread of Flask."""

    def __init__(self, flask: Flask, *, threads: int, on_start: Callable[[], None]) -> None:
        self._flask = flask
        self._on_start = on_start
        self._services: Services = flask.extensions["stentor"]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._probes = {path: ThreadPoolExecutor(count, thread_name_prefix="probe") for path, count in PROBES.items()}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI 3.0 has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._on_start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        limit = await self._limit(scope, headers)
        try:
            body = await read_body(receive, declared=_content_length(headers), limit=limit)
        except StentorError as exc:
            await _refuse(send, exc)
        else:
            with contextlib.closing(body):
                await self._call_flask(scope, body, receive, send)

    async def _call_flask(self, scope: Mapping[str, Any], body: Body, receive: Receive, send: Send) -> None:
        client = HttpClient(receive, asyncio.get_running_loop())
        environ = environ_of(scope, body)
        environ[KEY] = client
        pool: Executor = self._probes.get(scope["path"], self._pool)
        try:
            await WsgiCall(self._flask.wsgi_app, environ, pool).answer(send)
        finally:
            client.forget()

    async def _limit(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> int:
        """Bytes that the body of this request may have."""
        settings = self._services.settings
        declared = _content_length(headers)
        if declared is not None and declared <= NO_KEY_BYTES:
            return NO_KEY_BYTES
        if not await asyncio.to_thread(self._has_key, headers):
            return NO_KEY_BYTES
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        return upload_limit(scope["method"], scope["path"], content_type, settings)

    def _has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        try:
            self._services.api_keys.find(bearer(headers.get(b"authorization", b"").decode("latin-1")))
        except StentorError:
            return False
        return True


def _content_length(headers: Mapping[bytes, bytes]) -> int | None:
    if b"transfer-encoding" in headers:
        return None
    value = headers.get(b"content-length", b"0")
    return int(value) if value.isdigit() else None


async def _refuse(send: Send, error: StentorError) -> None:
    """Answer without Flask, and close the connection: the start of the next request is unknown."""
    body = json.dumps(problem_body(error.status, error.code, error.detail, retryable=error.retryable)).encode()
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
