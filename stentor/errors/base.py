"""The root of all failures, and the kinds that decide an HTTP status, an exit code and whether a retry helps."""

from __future__ import annotations

import re

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")
_BY_CODE: dict[str, type[StentorError]] = {}


class StentorError(Exception):
    """A failure with a ``code`` for programs, a sentence for people, and whether a retry helps.

    The code of a subclass is its name in snake case, unless it sets ``code``. The rest is inherited.
    """

    code: str = "internal"
    #: The HTTP status. 500 also stands for errors that never reach an HTTP client.
    status: int = 500
    retryable: bool = False
    #: Seconds after which a retry makes sense, if that is known.
    retry_after_s: float | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = _WORD_START.sub("_", cls.__name__.lstrip("_")).lower()
        _BY_CODE.setdefault(cls.code, cls)

    @property
    def detail(self) -> str:
        """The sentence: what is wrong, what is allowed, and what to do next."""
        return str(self)


def error_class(code: str) -> type[StentorError]:
    """The class with this code; ``StentorError`` if no class has it."""
    return _BY_CODE.get(code, StentorError)


def title_of(code: str) -> str:
    """The code as the title of an RFC 9457 problem: ``voice_unknown`` is "Voice unknown"."""
    return code.replace("_", " ").capitalize()


class ConfigurationError(StentorError):
    """The settings or the machine do not allow a start."""

    code = "configuration"


class RequestError(StentorError):
    """The client can correct the request."""

    code = "request_invalid"
    status = 422


class AccessError(StentorError):
    """The request does not prove who sends it, or the key does not allow it."""

    code = "access_denied"
    status = 401


class LimitError(StentorError):
    """A limit of the API key is reached; the request succeeds later."""

    code = "limit_reached"
    status = 429
    retryable = True
    retry_after_s = 1.0


class NotFoundError(StentorError):
    """The named thing does not exist, or belongs to another owner."""

    code = "not_found"
    status = 404


class ConflictError(StentorError):
    """The state of the thing does not allow this."""

    code = "conflict"
    status = 409


class UnavailableError(StentorError):
    """Another service does not answer; a retry helps."""

    code = "unavailable"
    status = 503
    retryable = True
    #: A restart takes about as long.
    retry_after_s = 5.0


class GpuError(StentorError):
    """The GPU driver refused or failed; seen by the scheduler and in logs."""

    retryable = True


class SynthesisError(StentorError):
    """A job's text could not be turned into audio; the other jobs of the batch are not affected."""

    code = "synthesis_failed"
