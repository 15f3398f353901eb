"""What is wrong with a job: its text, its state, its audio."""

from __future__ import annotations

from stentor.errors.base import ConflictError, NotFoundError, RequestError, SynthesisError, UnavailableError


class TooManyJobs(RequestError):
    """More jobs in one request than the service accepts."""


class TextEmpty(RequestError):
    """The text has no characters except white space."""


class TextTooLong(RequestError):
    """The text has more characters than one job may have."""


class TextInvalid(RequestError):
    """The text contains NUL, another control character or a lone surrogate."""


class TextUnspeakable(RequestError, SynthesisError):
    """The text has no letter or number to speak; found at submission or by the engine."""


class InstructionsUnsupported(RequestError):
    """No model of this service follows instructions on how to speak."""


class JobNotFound(NotFoundError):
    """The owner has no job with this id."""


class AudioNotFound(NotFoundError):
    """The job has no audio: it failed, was canceled, or its audio was removed."""


class AudioNotReady(ConflictError):
    """The job is not finished yet."""

    retryable = True


class JobSettled(ConflictError):
    """The job already has its outcome."""


class SpeechLate(UnavailableError):
    """The speech was not ready within the time that a request may wait."""
