"""What an API key does not allow: who it is, its scopes and its limits."""

from __future__ import annotations

from stentor.errors.base import AccessError, LimitError


class KeyMissing(AccessError):
    """The request has no API key."""


class KeyInvalid(AccessError):
    """The API key was never issued, or was revoked."""


class KeyExpired(AccessError):
    """The API key has expired."""


class ScopeMissing(AccessError):
    """The scopes of the API key do not allow this."""

    status = 403


class RateExceeded(LimitError):
    """The key has sent more requests than its rate allows."""


class DailyCharsExceeded(LimitError):
    """The key has used up its characters for today (UTC)."""


class TooManyWaits(LimitError):
    """As many requests wait for an outcome as may, of this key or of all keys."""


class TooManyWaiting(LimitError):
    """The key has as many waiting jobs as it may have."""
