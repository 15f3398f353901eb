"""The receiver of ``stentor webhooks listen``: verifies what comes as any receiver would, and prints a line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import click

from stentor.errors import ProgramMissing

#: Bytes of a body that are read; webhooks have fewer.
MAX_BYTES = 100_000


class _Handler(BaseHTTPRequestHandler):
    """Answers POST; what it prints is for people and `grep`."""

    server: _Server
    #: Seconds until a silent sender is given up.
    timeout = 10

    def do_POST(self) -> None:
        """Verify and print one webhook."""
        body = self.rfile.read(min(MAX_BYTES, int(self.headers.get("Content-Length") or 0)))
        click.echo(_line(body, dict(self.headers.items()), self.server.secret))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.came += 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Print nothing beyond the line."""


class _Server(HTTPServer):
    def __init__(self, port: int, secret: str | None, status: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.secret = secret
        self.status = status
        self.came = 0


def listen(port: int, secret: str | None, *, status: int, count: int | None) -> None:
    """Receive ``count`` webhooks, or without end.

    Raises:
        ProgramMissing: the package that verifies them is not installed.
    """
    if secret is not None:
        _check(secret)
    try:
        server = _Server(port, secret, status)
    except OSError as exc:
        raise click.ClickException(f"port {port} cannot be listened to: {exc}") from exc
    with server, contextlib.suppress(BrokenPipeError):
        click.echo(f"http://127.0.0.1:{server.server_port}/")
        while count is None or server.came < count:
            server.handle_request()


def _check(secret: str) -> None:
    if importlib.util.find_spec("standardwebhooks") is None:
        raise ProgramMissing("standardwebhooks is not installed: pip install standardwebhooks")
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", secret):
        raise click.BadParameter("a secret as whsec_... is wanted", param_hint="--secret")


def _line(body: bytes, headers: dict[str, str], secret: str | None) -> str:
    """Verdict, type, id of the event, id of what it is about, its state; separated by tabs."""
    told: Any = None
    with contextlib.suppress(ValueError):
        told = json.loads(body)
    if not isinstance(told, dict):
        told = {}
    data = told.get("data")
    if not isinstance(data, dict):
        data = {}
    message_id = next((value for name, value in headers.items() if name.lower() == "webhook-id"), "")
    fields = (_verdict(body, headers, secret), told.get("type"), message_id, data.get("id"), data.get("state"))
    return "\t".join(_printable(str(field)) for field in fields if field is not None)


def _printable(text: str) -> str:
    """Text that does nothing to a terminal: anybody may send here."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _verdict(body: bytes, headers: dict[str, str], secret: str | None) -> str:
    if secret is None:
        return "not verified (no --secret)"
    from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - see `listen`

    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError) as exc:
        return f"NOT VERIFIED ({exc})"
    return "verified"
