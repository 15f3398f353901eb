"""What is wrong with a voice, a model, or a recording that is to become a voice."""

from __future__ import annotations

from stentor.errors.base import ConflictError, NotFoundError, RequestError, SynthesisError, UnavailableError


class VoiceUnknown(RequestError):
    """No model or recording has a voice of this name."""


class CloningUnsupported(RequestError, SynthesisError):
    """The voice is a recording, and the model cannot clone voices."""


class RecordingError(RequestError):
    """A recording cannot become a voice."""

    code = "recording_invalid"


class RecordingTooLarge(RecordingError):
    """The recording has more bytes than allowed."""

    status = 413


class RecordingUnreadable(RecordingError):
    """The recording is not audio that can be decoded, or decoding it takes too much."""


class RecordingUnusable(RecordingError):
    """The recording is audio, but its quality is too poor for a voice."""


class RecordingTooShort(RecordingError):
    """The recording contains too little speech."""


class RecordingTooLong(RecordingError):
    """The recording is longer than allowed."""


class VoiceNotFound(NotFoundError):
    """The owner has no uploaded voice with this id."""


class ModelNotFound(NotFoundError):
    """No device has a model of this name."""


class VoiceExists(ConflictError):
    """A voice of this name already exists."""


class VoicesUnknown(UnavailableError):
    """No worker has registered its voices yet, so no voice can be checked."""
