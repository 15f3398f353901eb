"""One call of a WSGI application from an event loop. A thread is held while the application works, and not while its
answer is sent: a client may read as slowly as it likes.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

from api.front.body import Body, Message

Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Any]

#: An answer is collected in pieces of about this size: nearly all are sent at once, and their thread is free then.
PIECE_BYTES = 256 * 1024


def environ_of(scope: Mapping[str, Any], body: Body) -> Environ:
    """The environment of a request (PEP 3333). What a proxy says of it is only a header."""
    host, port = scope.get("server") or ("localhost", 0)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": (scope.get("client") or ("", 0))[0],
        "CONTENT_LENGTH": str(body.size),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body.file,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = _header_name(raw_name.decode("latin-1")), raw_value.decode("latin-1")
        if name is not None:
            environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


def _header_name(name: str) -> str | None:
    """The name of a header in the environment; None for one that must not be there.

    The body is whole by now, whatever its framing was; and ``X_A`` would become the same as ``X-A``.
    """
    upper = name.upper().replace("-", "_")
    if "_" in name or upper in {"CONTENT_LENGTH", "TRANSFER_ENCODING", "CONNECTION", "EXPECT"}:
        return None
    return upper if upper == "CONTENT_TYPE" else f"HTTP_{upper}"


class WsgiCall:
    """One request on its way through a WSGI application."""

    def __init__(self, app: WsgiApp, environ: Environ, pool: Executor) -> None:
        self._app = app
        self._environ = environ
        self._pool = pool
        # The application and what it streams see the same context variables.
        self._context = contextvars.copy_context()
        self._start: Message | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._close: Callable[[], None] = _nothing

    async def answer(self, send: Send) -> None:
        """Call the application and send its answer."""
        try:
            piece, more = await self._in_thread(self._begin)
            assert self._start is not None
            await send(self._start)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            while more:
                piece, more = await self._in_thread(self._next_piece)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            if self._close is not _nothing:
                await self._in_thread(self._finish)

    async def _in_thread(self, act: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._context.run, act)

    def _begin(self) -> tuple[bytes, bool]:
        answered = self._app(self._environ, self._start_response)
        self._close = getattr(answered, "close", _nothing)
        self._chunks = iter(answered)
        return self._next_piece()

    def _next_piece(self) -> tuple[bytes, bool]:
        """The next bytes of the answer, and whether more may follow. At its end the answer is closed."""
        piece = bytearray()
        for chunk in self._chunks:
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                return bytes(piece), True
        self._finish()
        return bytes(piece), False

    def _finish(self) -> None:
        close, self._close = self._close, _nothing
        close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        if exc_info and self._start is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }


def _nothing() -> None:
    """What an answer without ``close`` does at its end."""
