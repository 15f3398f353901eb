"""Why a job or a group has no audio."""

from __future__ import annotations

from stentor.errors.base import SynthesisError


class EngineFailed(SynthesisError):
    """The engine refused this text or failed on it."""


class EngineCrashed(SynthesisError):
    """The device's process died while it held this job, as often as is allowed."""

    retryable = True


class EngineHung(SynthesisError):
    """The job's forward pass did not end in time, as often as is allowed."""

    retryable = True


class OutOfMemory(SynthesisError):
    """The job alone needs more memory than the device has."""


class AudioInvalid(SynthesisError):
    """The engine's output is not speech: empty, not finite, silent, clipped flat, or of an impossible length."""


class AudioUnencodable(SynthesisError):
    """The audio could not be encoded in the requested format."""


class GroupIncomplete(SynthesisError):
    """A row of the bulk's group has no audio, so the group cannot be joined."""


class ModelUnavailable(SynthesisError):
    """No engine on this device has the model of the job's voice."""

    retryable = True
