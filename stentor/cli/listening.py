"""The receiver of ``stentor webhooks listen``: verifies each webhook like any receiver, and prints a line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import click

from stentor.errors import ProgramMissing

#: Maximum number of bytes that are read of a body; webhooks are smaller.
MAX_BYTES = 100_000


class _WebhookHandler(BaseHTTPRequestHandler):
    """Answers POST and prints a line per webhook, for people and `grep`."""

    server: _WebhookServer
    #: Seconds after which a silent sender is disconnected.
    timeout = 10

    def do_POST(self) -> None:
        """Verify and print one webhook."""
        body = self.rfile.read(min(MAX_BYTES, int(self.headers.get("Content-Length") or 0)))
        click.echo(_line(body, dict(self.headers.items()), self.server.secret))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.count += 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Print nothing beyond the line."""


class _WebhookServer(HTTPServer):
    def __init__(self, port: int, secret: str | None, status: int) -> None:
        super().__init__(("127.0.0.1", port), _WebhookHandler)
        self.secret = secret
        self.status = status
        self.count = 0


def listen(port: int, secret: str | None, *, status: int, count: int | None) -> None:
    """Receive ``count`` webhooks; without ``count``, until Ctrl-C.

    Raises:
        ProgramMissing: the package that verifies signatures is not installed.
    """
    if secret is not None:
        _check(secret)
    try:
        server = _WebhookServer(port, secret, status)
    except OSError as exc:
        raise click.ClickException(f"Cannot listen on port {port}: {exc}") from exc
    with server, contextlib.suppress(BrokenPipeError):
        click.echo(f"http://127.0.0.1:{server.server_port}/")
        while count is None or server.count < count:
            server.handle_request()


def _check(secret: str) -> None:
    if importlib.util.find_spec("standardwebhooks") is None:
        raise ProgramMissing("standardwebhooks is not installed. Run: pip install standardwebhooks")
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/]+=*", secret):
        raise click.BadParameter("Not a webhook secret. It starts with whsec_.", param_hint="--secret")


def _line(body: bytes, headers: dict[str, str], secret: str | None) -> str:
    """Result of the verification, event type, event id, and the id and state of its job or bulk, separated by tabs."""
    event: Any = None
    with contextlib.suppress(ValueError):
        event = json.loads(body)
    if not isinstance(event, dict):
        event = {}
    data = event.get("data")
    if not isinstance(data, dict):
        data = {}
    message_id = next((value for name, value in headers.items() if name.lower() == "webhook-id"), "")
    fields = (_verification(body, headers, secret), event.get("type"), message_id, data.get("id"), data.get("state"))
    return "\t".join(_printable(str(field)) for field in fields if field is not None)


def _printable(text: str) -> str:
    """Text without control characters: any sender may reach this server."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _verification(body: bytes, headers: dict[str, str], secret: str | None) -> str:
    if secret is None:
        return "not verified (no --secret)"
    from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - see `listen`

    try:
        Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError) as exc:
        return f"NOT VERIFIED ({exc})"
    return "verified"
