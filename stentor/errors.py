"""Every failure Stentor can name, in one tree.

StentorError
├── ConfigurationError        the start is refused
│   ├── SettingUnknown        setting_unknown
│   ├── SettingInvalid        setting_invalid
│   ├── ProgramMissing        program_missing
│   └── DeviceTaken           device_taken
├── RequestError              the client can mend it
│   ├── JsonInvalid           json_invalid
│   ├── ContentTypeUnsupported content_type_unsupported
│   ├── BodyTooLarge          body_too_large
│   ├── FieldInvalid          field_invalid
│   ├── TooManyJobs           too_many_jobs
│   ├── UrlInvalid            url_invalid
│   ├── UrlRefused            url_refused
│   ├── IdempotencyKeyReused  idempotency_key_reused
│   ├── InstructionsUnsupported instructions_unsupported
│   ├── VoiceUnknown          voice_unknown
│   ├── TextEmpty             text_empty
│   ├── TextTooLong           text_too_long
│   ├── TextInvalid           text_invalid
│   ├── TextUnspeakable       text_unspeakable
│   ├── BulkError             a file of texts is refused; the row and the column are named
│   │   ├── FileEmpty         file_empty
│   │   ├── FileTooLarge      file_too_large
│   │   ├── FileEncoding      file_encoding
│   │   ├── FileUnreadable    file_unreadable
│   │   ├── SourceRefused     source_refused
│   │   ├── SourceNotFound    source_not_found
│   │   ├── TooManyRows       too_many_rows
│   │   ├── ColumnMissing     column_missing
│   │   ├── ColumnUnknown     column_unknown
│   │   ├── ColumnDuplicate   column_duplicate
│   │   ├── ColumnInvalid     column_invalid
│   │   ├── RowMalformed      row_malformed
│   │   ├── IdDuplicate       id_duplicate
│   │   ├── FilenameDuplicate filename_duplicate
│   │   └── FilenameUnsafe    filename_unsafe
│   └── RecordingError        an uploaded voice is refused
│       ├── RecordingTooLarge recording_too_large
│       ├── RecordingUnreadable recording_unreadable
│       ├── RecordingUnusable recording_unusable
│       ├── RecordingTooShort recording_too_short
│       └── RecordingTooLong  recording_too_long
├── AccessError
│   ├── KeyMissing            key_missing
│   ├── KeyInvalid            key_invalid
│   ├── KeyExpired            key_expired
│   └── ScopeMissing          scope_missing
├── LimitError                a key's limit is reached; later it is not
│   ├── RateExceeded          rate_exceeded
│   ├── DailyCharsExceeded    daily_chars_exceeded
│   └── TooManyWaiting        too_many_waiting
├── NotFoundError
│   ├── PathUnknown           path_unknown
│   ├── JobNotFound           job_not_found
│   ├── BulkNotFound          bulk_not_found
│   ├── BulkFileNotFound      bulk_file_not_found
│   ├── WebhookNotFound       webhook_not_found
│   ├── DeliveryNotFound      delivery_not_found
│   ├── VoiceNotFound         voice_not_found
│   ├── ModelNotFound         model_not_found
│   ├── DeviceNotFound        device_not_found
│   └── AudioNotFound         audio_not_found
├── ConflictError
│   ├── AudioNotReady         audio_not_ready
│   ├── JobSettled            job_settled
│   ├── BulkStateConflict     bulk_state_conflict
│   ├── FileNotReady          file_not_ready
│   ├── VoiceExists           voice_exists
│   ├── TooManyWebhooks       too_many_webhooks
│   ├── WebhookDisabled       webhook_disabled
│   └── IdempotencyInFlight   idempotency_in_flight
├── UnavailableError          trying again later helps
│   ├── RedisUnavailable      redis_unavailable
│   │   └── RedisUntrusted    redis_untrusted
│   ├── StorageUnavailable    storage_unavailable
│   ├── ApiUnavailable        api_unavailable (seen by the CLI, and told by nginx)
│   ├── RoomSilent            room_silent (seen by the CLI)
│   ├── RecordNewer           record_newer (seen in logs)
│   ├── SpeechLate            speech_late
│   └── VoicesUnknown         voices_unknown
├── GpuError                  the driver does not do it; seen by the scheduler and in logs
│   ├── NvmlUnavailable       nvml_unavailable
│   ├── GpuLost               gpu_lost
│   └── ClocksRefused         clocks_refused
└── SynthesisError            one job's outcome
    ├── EngineFailed          engine_failed
    ├── EngineCrashed         engine_crashed
    ├── EngineHung            engine_hung
    ├── OutOfMemory           out_of_memory
    ├── AudioInvalid          audio_invalid
    ├── AudioUnencodable      audio_unencodable
    ├── GroupIncomplete       group_incomplete (of a bulk's group, not of a job)
    ├── CloningUnsupported    cloning_unsupported (also a RequestError)
    └── ModelUnavailable      model_unavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


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


class DeviceTaken(ConfigurationError):
    """Another worker acts for the device of this name, and is alive."""

    code = "device_taken"


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


class UrlInvalid(RequestError):
    """What is to be a URL that can be called is none."""

    code = "url_invalid"


class UrlRefused(RequestError):
    """The URL leads to an address that nobody outside may have called: private, loopback, link-local, metadata."""

    code = "url_refused"


class IdempotencyKeyReused(RequestError):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"


class InstructionsUnsupported(RequestError):
    """No model here follows instructions on how to speak."""

    code = "instructions_unsupported"


class BulkError(RequestError):
    """A file of texts that is refused, as a whole or for some of its rows."""

    code = "bulk_invalid"
    #: The row in which reading ended, counted from 1 after the header; 0 for the header or the whole file.
    row: int = 0
    #: The column that it is about; empty for the whole row.
    column: str = ""
    #: All that was found until then, each a dataclass of row, column, code and detail; the first hundred.
    errors: Sequence[Any] = ()


class FileEmpty(BulkError):
    """The file has no bytes, or no rows."""

    code = "file_empty"


class FileTooLarge(BulkError):
    """The file has more bytes than may be uploaded, or more once it is unpacked."""

    code = "file_too_large"


class FileEncoding(BulkError):
    """The file is text in no encoding that is read, or has bytes that its encoding does not have."""

    code = "file_encoding"


class FileUnreadable(BulkError):
    """The file is no CSV, TSV or JSON Lines: an archive, a page, an image, a broken gzip."""

    code = "file_unreadable"


class SourceRefused(BulkError):
    """The source is in no bucket that bulks may be read from."""

    code = "source_refused"


class SourceNotFound(BulkError):
    """The source is not there."""

    code = "source_not_found"


class TooManyRows(BulkError):
    """The file has more rows than one bulk may have."""

    code = "too_many_rows"


class ColumnMissing(BulkError):
    """A column that every bulk needs is not there."""

    code = "column_missing"


class ColumnUnknown(BulkError):
    """The name of a column is a slip of a known one."""

    code = "column_unknown"


class ColumnDuplicate(BulkError):
    """Two columns have the same name."""

    code = "column_duplicate"


class ColumnInvalid(BulkError):
    """A column's name is none that metadata may have, or there are more columns than metadata may have."""

    code = "column_invalid"


class RowMalformed(BulkError):
    """A row has more or fewer fields than the header, a quote that does not end, or is no JSON object."""

    code = "row_malformed"


class IdDuplicate(BulkError):
    """An earlier row has this id."""

    code = "id_duplicate"


class FilenameDuplicate(BulkError):
    """An earlier row has this file name."""

    code = "filename_duplicate"


class FilenameUnsafe(BulkError):
    """The file name would lead out of the folder, or is one that file systems refuse."""

    code = "filename_unsafe"


class RecordingError(RequestError):
    """A recording that cannot be a voice."""

    code = "recording_invalid"


class RecordingTooLarge(RecordingError):
    """The recording has more bytes than may be uploaded."""

    code = "recording_too_large"


class RecordingUnreadable(RecordingError):
    """The recording is no audio that can be decoded, or decoding it takes too much."""

    code = "recording_unreadable"


class RecordingUnusable(RecordingError):
    """The recording is audio, but none that a voice can be made of."""

    code = "recording_unusable"


class RecordingTooShort(RecordingError):
    """The recording has too little speech in it."""

    code = "recording_too_short"


class RecordingTooLong(RecordingError):
    """The recording is longer than a voice needs."""

    code = "recording_too_long"


class AccessError(StentorError):
    """The request does not show who sends it."""

    code = "access_denied"


class KeyMissing(AccessError):
    """The request carries no API key."""

    code = "key_missing"


class KeyInvalid(AccessError):
    """The API key is not one that was given out."""

    code = "key_invalid"


class KeyExpired(AccessError):
    """The API key was good until a moment that has passed."""

    code = "key_expired"


class ScopeMissing(AccessError):
    """The API key may not do this."""

    code = "scope_missing"


class LimitError(StentorError):
    """A limit of the key is reached."""

    code = "limit_reached"
    retryable = True
    #: After how many seconds trying again makes sense.
    retry_after_s: float = 1.0


class RateExceeded(LimitError):
    """The key has sent more requests than it may in this time."""

    code = "rate_exceeded"
    retryable = True


class DailyCharsExceeded(LimitError):
    """The key has no more characters left for today."""

    code = "daily_chars_exceeded"
    retryable = True


class TooManyWaiting(LimitError):
    """As many jobs of the key wait as may."""

    code = "too_many_waiting"
    retryable = True


class NotFoundError(StentorError):
    """What the request names is not there, or is not the sender's."""

    code = "not_found"


class PathUnknown(NotFoundError):
    """No endpoint has this path."""

    code = "path_unknown"


class JobNotFound(NotFoundError):
    """No job of this owner has this id."""

    code = "job_not_found"


class BulkNotFound(NotFoundError):
    """No bulk of this owner has this id."""

    code = "bulk_not_found"


class BulkFileNotFound(NotFoundError):
    """The bulk has no such file: nobody asked for it, or there is nothing to put into it."""

    code = "bulk_file_not_found"


class WebhookNotFound(NotFoundError):
    """No webhook endpoint of this owner has this id."""

    code = "webhook_not_found"


class DeliveryNotFound(NotFoundError):
    """The endpoint has no delivery of this id, or it was long ago."""

    code = "delivery_not_found"


class VoiceNotFound(NotFoundError):
    """No uploaded voice of this owner has this id."""

    code = "voice_not_found"


class ModelNotFound(NotFoundError):
    """No device has a model of this name."""

    code = "model_not_found"


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


class BulkStateConflict(ConflictError):
    """The bulk is in a state in which this cannot be done."""

    code = "bulk_state_conflict"


class FileNotReady(ConflictError):
    """The file is still being made."""

    code = "file_not_ready"
    retryable = True


class VoiceExists(ConflictError):
    """There is a voice of this name already."""

    code = "voice_exists"


class TooManyWebhooks(ConflictError):
    """The owner has as many webhook endpoints as may be."""

    code = "too_many_webhooks"


class WebhookDisabled(ConflictError):
    """The webhook endpoint is disabled: nothing is sent to it."""

    code = "webhook_disabled"


class IdempotencyInFlight(ConflictError):
    """The first request with this idempotency key is still being answered."""

    code = "idempotency_in_flight"
    retryable = True
    #: After how many seconds trying again makes sense.
    retry_after_s: float = 1.0


class UnavailableError(StentorError):
    """A neighbour is away; trying again later helps."""

    code = "unavailable"
    retryable = True


class RedisUnavailable(UnavailableError):
    """Redis does not answer or refuses writes."""

    code = "redis_unavailable"


class RedisUntrusted(RedisUnavailable):
    """Redis shows a certificate that no trusted authority has signed, or that is for another name."""

    code = "redis_untrusted"


class StorageUnavailable(UnavailableError):
    """The S3 storage does not answer or refuses the request."""

    code = "storage_unavailable"


class RecordNewer(UnavailableError):
    """A job or bulk was written by a newer release, in a way that this one cannot read; a newer one does its work."""

    code = "record_newer"


class ApiUnavailable(UnavailableError):
    """The Stentor API does not answer."""

    code = "api_unavailable"


class RoomSilent(UnavailableError):
    """A room has not been heard of for longer than its heartbeat is good for, or cannot work."""

    code = "room_silent"


class SpeechLate(UnavailableError):
    """The speech was not made within the time that a request may wait."""

    code = "speech_late"


class VoicesUnknown(UnavailableError):
    """No worker has ever registered its voices, so no voice can be checked."""

    code = "voices_unknown"


class GpuError(StentorError):
    """The driver of the GPUs does not do what was asked."""

    code = "gpu_error"
    retryable = True


class NvmlUnavailable(GpuError):
    """This machine has no NVML, or it does not answer."""

    code = "nvml_unavailable"


class GpuLost(GpuError):
    """A GPU does not answer any more."""

    code = "gpu_lost"


class ClocksRefused(GpuError):
    """The driver does not set the clocks: no rights, or not this GPU's.

    ``for_good``: it will refuse the next time, too.
    """

    code = "clocks_refused"

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


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


class GroupIncomplete(SynthesisError):
    """A row of the group has no audio, so that there is nothing whole to join."""

    code = "group_incomplete"


class CloningUnsupported(RequestError, SynthesisError):
    """The voice is a recording, and the model cannot speak with the voice of a recording."""

    code = "cloning_unsupported"


class ModelUnavailable(SynthesisError):
    """No engine on this device has the model that the job's voice needs."""

    code = "model_unavailable"
    retryable = True
