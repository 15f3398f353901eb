"""Which service does not answer, and what the API answers a client instead of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stentor.errors.base import StentorError, UnavailableError


class RedisUnavailable(UnavailableError):
    """Redis does not answer or refuses writes."""


class RedisUntrusted(RedisUnavailable):
    """Redis shows a certificate that no trusted authority has signed, or that names another host."""


class StorageUnavailable(UnavailableError):
    """The S3 storage does not answer or refuses the request."""


class ApiUnavailable(UnavailableError):
    """The Stentor API does not answer; reported by the command line and by nginx."""


class RoomSilent(UnavailableError):
    """A service has sent no heartbeat for too long, or cannot work; reported by the command line."""


class RecordNewer(UnavailableError):
    """A newer release wrote this job or bulk in a form that this release cannot read."""


class Problem(StentorError):
    """The API refused a request; code, status, sentence and ``retryable`` are the API's (RFC 9457)."""

    def __init__(
        self,
        *,
        code: str,
        status: int,
        detail: str,
        retryable: bool = False,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        #: Each wrong field of a request, or each wrong row and column of a file.
        self.errors = errors
        self.code = code
        self.retryable = retryable
        self.status = status
