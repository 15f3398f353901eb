"""Every failure Stentor can name, in one tree.

StentorError
├── ConfigurationError        the start is refused
│   ├── SettingUnknown        setting_unknown
│   ├── SettingInvalid        setting_invalid
│   └── ProgramMissing        program_missing
├── RequestError              the client can mend it
│   ├── JsonInvalid           json_invalid
│   ├── ContentTypeUnsupported content_type_unsupported
│   ├── BodyTooLarge          body_too_large
│   ├── FieldInvalid          field_invalid
│   ├── TooManyJobs           too_many_jobs
│   ├── VoiceUnknown          voice_unknown
│   ├── TextEmpty             text_empty
│   ├── TextTooLong           text_too_long
│   ├── TextInvalid           text_invalid
│   └── TextUnspeakable       text_unspeakable
├── AccessError
│   ├── KeyMissing            key_missing
│   └── KeyInvalid            key_invalid
├── NotFoundError
│   ├── PathUnknown           path_unknown
│   ├── JobNotFound           job_not_found
│   ├── DeviceNotFound        device_not_found
│   └── AudioNotFound         audio_not_found
├── ConflictError
│   ├── AudioNotReady         audio_not_ready
│   └── JobSettled            job_settled
├── UnavailableError          trying again later helps
│   ├── RedisUnavailable      redis_unavailable
│   ├── StorageUnavailable    storage_unavailable
│   ├── ApiUnavailable        api_unavailable (seen by the CLI)
│   └── VoicesUnknown         voices_unknown
└── SynthesisError            one job's outcome
    ├── EngineFailed          engine_failed
    ├── EngineCrashed         engine_crashed
    ├── EngineHung            engine_hung
    ├── OutOfMemory           out_of_memory
    ├── AudioInvalid          audio_invalid
    ├── AudioUnencodable      audio_unencodable
    └── ModelUnavailable      model_unavailable
"""

from __future__ import annotations

from typing import ClassVar


class StentorError(Exception):
    """A failure with a name: ``code`` for programs, a sentence for people, and whether trying again helps."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """The sentence: what was seen and what was wanted."""
        return str(self)


class ConfigurationError(StentorError):
    """The settings or the machine do not allow a start."""

    code = "configuration"


class SettingUnknown(ConfigurationError):
    """A ``STENTOR_*`` variable that nobody reads, most likely a slip of the pen."""

    code = "setting_unknown"


class SettingInvalid(ConfigurationError):
    """A setting that is missing or has a value outside of what it allows."""

    code = "setting_invalid"


class ProgramMissing(ConfigurationError):
    """A program that the embedded stack starts is not on this machine."""

    code = "program_missing"


class RequestError(StentorError):
    """A request that its sender can mend."""

    code = "request_invalid"


class JsonInvalid(RequestError):
    """The body is not the JSON it claims to be."""

    code = "json_invalid"


class ContentTypeUnsupported(RequestError):
    """The body's content type is not one this endpoint reads."""

    code = "content_type_unsupported"


class BodyTooLarge(RequestError):
    """The body has more bytes than the service reads."""

    code = "body_too_large"


class FieldInvalid(RequestError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "field_invalid"


class TooManyJobs(RequestError):
    """More jobs in one request than the service takes."""

    code = "too_many_jobs"


class VoiceUnknown(RequestError):
    """No model has a voice of this name."""

    code = "voice_unknown"


class TextEmpty(RequestError):
    """The text has no characters other than white space."""

    code = "text_empty"


class TextTooLong(RequestError):
    """The text has more characters than one job may have."""

    code = "text_too_long"


class TextInvalid(RequestError):
    """The text has characters that no text has: NUL, control characters, lone surrogates."""

    code = "text_invalid"


class AccessError(StentorError):
    """The request does not show who sends it."""

    code = "access_denied"


class KeyMissing(AccessError):
    """The request carries no API key."""

    code = "key_missing"


class KeyInvalid(AccessError):
    """The API key is not one that was given out."""

    code = "key_invalid"


class NotFoundError(StentorError):
    """What the request names is not there, or is not the sender's."""

    code = "not_found"


class PathUnknown(NotFoundError):
    """No endpoint has this path."""

    code = "path_unknown"


class JobNotFound(NotFoundError):
    """No job of this owner has this id."""

    code = "job_not_found"


class DeviceNotFound(NotFoundError):
    """No device has this id."""

    code = "device_not_found"


class AudioNotFound(NotFoundError):
    """The job has no audio: it failed, was canceled, or its audio was removed."""

    code = "audio_not_found"


class ConflictError(StentorError):
    """The thing is not in a state in which this can be done."""

    code = "conflict"


class AudioNotReady(ConflictError):
    """The job has not been spoken yet."""

    code = "audio_not_ready"
    retryable = True


class JobSettled(ConflictError):
    """The job already has its outcome."""

    code = "job_settled"


class UnavailableError(StentorError):
    """A neighbour is away; trying again later helps."""

    code = "unavailable"
    retryable = True


class RedisUnavailable(UnavailableError):
    """Redis does not answer or refuses writes."""

    code = "redis_unavailable"


class StorageUnavailable(UnavailableError):
    """The S3 storage does not answer or refuses the request."""

    code = "storage_unavailable"


class ApiUnavailable(UnavailableError):
    """The Stentor API does not answer."""

    code = "api_unavailable"


class VoicesUnknown(UnavailableError):
    """No worker has ever registered its voices, so no voice can be checked."""

    code = "voices_unknown"


class SynthesisError(StentorError):
    """A job's text could not be made into audio; its neighbours in the batch are not concerned."""

    code = "synthesis_failed"


class TextUnspeakable(RequestError, SynthesisError):
    """The text has nothing that a voice could say; seen at submission, or by the engine."""

    code = "text_unspeakable"


class EngineFailed(SynthesisError):
    """The engine refused or failed on this text."""

    code = "engine_failed"


class EngineCrashed(SynthesisError):
    """The device's process died with this job in its hands, as often as is allowed."""

    code = "engine_crashed"
    retryable = True


class EngineHung(SynthesisError):
    """The job's forward pass did not end in time, as often as is allowed."""

    code = "engine_hung"
    retryable = True


class OutOfMemory(SynthesisError):
    """The job alone takes more memory than the device has."""

    code = "out_of_memory"


class AudioInvalid(SynthesisError):
    """The engine answered with no speech: empty, not finite, silent, clipped flat, or of a length no speech has."""

    code = "audio_invalid"


class AudioUnencodable(SynthesisError):
    """The audio could not be written in the format that was asked for."""

    code = "audio_unencodable"


class ModelUnavailable(SynthesisError):
    """No engine on this device has the model that the job's voice needs."""

    code = "model_unavailable"
    retryable = True
