"""A client of the HTTP API, for programs and for the command line."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from stentor.client.bulks import BulkCalls
from stentor.client.devices import DeviceCalls
from stentor.client.jobs import JobCalls
from stentor.client.transport import PATIENCE_S, Transport
from stentor.client.voices import VoiceCalls
from stentor.client.webhooks import WebhookCalls


class Client(JobCalls, BulkCalls, VoiceCalls, DeviceCalls, WebhookCalls):
    """A client of one API with one key. Safe for threads. ``patience_s``: how long to retry, see ``Transport``.

    Raises:
        ApiUnavailable: from every method, when the API does not answer.
        Problem: from every method, when the API refuses the request.
    """

    def __init__(self, url: str, key: str, *, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self.http = Transport(url, key, patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
