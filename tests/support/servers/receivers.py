"""Receivers of webhooks for tests: real HTTP servers on loopback that keep what came."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What webhooks of tests may be sent to.
LOOPBACK = "127.0.0.0/8"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Received:
    """One request that came."""

    id: str
    headers: dict[str, str]
    body: bytes
    at: float
    path: str


class Handler(BaseHTTPRequestHandler):
    """Reads a request, notes it down, and does what its receiver does with it."""

    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        self.close_connection = True
        if len(body) < length:
            return  # the sender's time was over in the middle: it has told nothing
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        # A receiver that was stopped, or a client that gave up, is part of the test.
        with suppress(OSError):
            receiver.take(
                self, Received(id=headers["webhook-id"], headers=headers, body=body, at=time.time(), path=self.path)
            )

    def do_GET(self) -> None:
        self.server.receiver.followed += 1  # type: ignore[attr-defined]
        self.answer(200)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Receiver:
    """Where webhooks come in. ``how`` answers each; without it the answer is 200."""

    def __init__(self, how: Callable[[Handler, Received], None] | None = None) -> None:
        self._how = how
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.receiver = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self.received: list[Received] = []
        self.lock = threading.Lock()
        #: Redirects that were followed.
        self.followed = 0
        #: Most requests that were in hand at a time.
        self.most = 0
        self._now = 0
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def take(self, handler: Handler, request: Received) -> None:
        with self.lock:
            self.received.append(request)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if self._how is None:
                handler.answer(200)
            else:
                self._how(handler, request)
        finally:
            with self.lock:
                self._now -= 1

    def ids(self) -> set[str]:
        with self.lock:
            return {one.id for one in self.received}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiver(how: Callable[[Handler, Received], None] | None = None) -> Iterator[Receiver]:
    """A receiver that is closed at the end."""
    made = Receiver(how)
    try:
        yield made
    finally:
        made.close()
