"""`/v1/audio/speech` and `/v1/models`, so that OpenAI's clients work unchanged."""

from __future__ import annotations

import dataclasses
import io
import itertools
import wave
from collections.abc import Sequence
from typing import Any, Final

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.http.auth import authorize, key, owner
from api.http.idempotency import new_id, replays_by_repeating
from api.http.limits import limits_of
from api.http.problems import Invalid, problem
from api.http.schemas import NoQuery
from api.jobs.routes import ring
from api.jobs.schemas import JobRequest
from api.jobs.submission import jobs_from
from api.openai.schemas import FORMAT_OF, ModelOut, ModelPath, ModelsOut, SpeechRequest
from api.services import services
from api.waiting.waits import http_client
from stentor import log
from stentor.errors import (
    AudioNotFound,
    InstructionsUnsupported,
    JobNotFound,
    JobSettled,
    ModelNotFound,
    RequestError,
    SpeechLate,
    StentorError,
    TooManyWaits,
    VoiceUnknown,
    error_class,
)
from stentor.formats import FORMATS
from stentor.jobs.job import Job, JobState, Priority
from stentor.voices.voice import Voice

_log = log.get(__name__)

JOB_HEADER: Final = "X-Stentor-Job"
#: OpenAI's speech models. Here they stand for the model of the voice.
OPENAI_MODELS: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
#: Sample rate of OpenAI's raw audio: 16-bit, little-endian, mono.
PCM_HZ: Final = 24_000

blueprint = APIBlueprint(
    "speech", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


@blueprint.post("/audio/speech")
@replays_by_repeating
def create_speech(body: SpeechRequest) -> Response:
    """Speak a text and return the audio, as OpenAI does. The text becomes an `interactive` job."""
    if body.instructions:
        raise InstructionsUnsupported("instructions: No model here supports them. Leave the field out or empty.")
    voice = _voice(body)
    request = JobRequest.model_validate(
        {
            "text": body.input,
            # A later model may have a voice with the name of the recording; the id of the recording is unique.
            "voice": voice.recording or voice.name,
            "speed": body.speed,
            "format": FORMAT_OF[body.response_format],
            "sample_rate_hz": PCM_HZ if body.response_format == "pcm" else None,
            "priority": Priority.INTERACTIVE.value,
        }
    )
    (made,) = jobs_from([request], key=key(), services=services(), many=False)
    made = dataclasses.replace(made, id=_fresh_job_id())
    with services().wait_slots.slot(key().id) as allowed:
        if not allowed:
            raise TooManyWaits("Too many requests wait for speech. Try again later, or use POST /v1/jobs.")
        (job,) = services().jobs.submit([made], limits=limits_of(key()), ring=ring)
        job = _wait_for_outcome(job)
    response = _audio_response(job, body.response_format)
    response.headers[JOB_HEADER] = job.id
    return response


def _fresh_job_id() -> str:
    """The id of this request's job. With an idempotency key it is that of the attempt before, unless that job was too
    late or failed with a retryable error: then this attempt needs a new job.
    """
    for number in itertools.count():
        job_id = new_id("job", number)
        try:
            before = services().jobs.get(job_id, owner())
        except JobNotFound:
            break
        if before.state != JobState.CANCELED and not before.error_retryable:
            break
    return job_id


def _voice(body: SpeechRequest) -> Voice:
    """The requested voice, if the requested model has it.

    Raises:
        ModelNotFound: no model or engine has this name, and it is not a model of OpenAI.
        Invalid: the voice does not exist, or belongs to another model.
    """
    models = services().voices.models().values()
    names = {name for voice in models for name in (voice.model, voice.engine)}
    if body.model not in names and body.model not in OPENAI_MODELS:
        raise ModelNotFound(
            f"Unknown model {body.model!r}. Available models: {', '.join([*sorted(names), *OPENAI_MODELS])}."
        )
    try:
        voice = _find_voice(body.voice)
    except RequestError as exc:
        raise Invalid([{"field": "voice", "code": exc.code, "detail": exc.detail}]) from exc
    if body.model not in {voice.model, voice.engine, *OPENAI_MODELS}:
        detail = f"The voice {voice.name!r} belongs to the model {voice.model!r}, not to {body.model!r}."
        raise Invalid([{"field": "voice", "code": VoiceUnknown.code, "detail": detail}])
    return voice


def _find_voice(name: str) -> Voice:
    """The voice of this name, or the one that ``STENTOR_OPENAI_VOICES`` maps the name to."""
    try:
        return services().voices.get(name, owner())
    except VoiceUnknown:
        ours = dict(pair.split("=") for pair in (services().settings.openai_voices or "").split(",") if pair).get(name)
        if ours is None:
            raise
    return services().voices.get(ours, owner())


def _wait_for_outcome(job: Job) -> Job:
    """The job with its outcome.

    Raises:
        SpeechLate: the job has no outcome in time, or the client has left; it is canceled.
    """
    wait_s, name = services().settings.speech_wait_s, owner()
    job = services().outcomes.wait(
        job.id,
        lambda: services().jobs.get(job.id, name),
        wait_s,
        over=lambda found: found.settled,
        patient=True,
        client=http_client(),
    )
    if job.settled:
        return job
    try:
        services().jobs.cancel(job.id, name)
    except JobSettled:
        return services().jobs.get(job.id, name)
    client = http_client()
    _log.warning("speech_late", job_id=job.id, waited_s=wait_s, client_left=client is not None and client.has_left)
    raise SpeechLate(f"The speech was not ready within {wait_s:g} s, so job {job.id} was canceled. Retry later.")


def _audio_response(job: Job, response_format: str) -> Response:
    if job.state == JobState.FAILED:
        return _failure_response(job)
    if job.state != JobState.SUCCEEDED or job.audio_key is None:
        raise AudioNotFound(f"Job {job.id} is {job.state} and has no audio.")
    if response_format == "pcm":
        return Response(_pcm_samples(services().storage.get(job.audio_key)), mimetype="audio/pcm")
    response = Response(services().storage.stream(job.audio_key), mimetype=FORMATS[job.speech.format].content_type)
    response.headers["Content-Length"] = str(job.audio_bytes)
    return response


def _pcm_samples(body: bytes) -> bytes:
    with wave.open(io.BytesIO(body)) as file:
        samples: bytes = file.readframes(file.getnframes())
    return samples


def _failure_response(job: Job) -> Response:
    """The job's error as a problem: 422 for the text, 503 if a retry helps, else 500."""
    code, detail = job.error_code or StentorError.code, job.error_detail or "The job failed."
    kind = error_class(code)
    if issubclass(kind, RequestError):
        return problem(kind.status, code, detail)
    return problem(503 if job.error_retryable else 500, code, detail, retryable=bool(job.error_retryable))


@blueprint.get("/models", responses={200: ModelsOut})
def list_models(query: NoQuery) -> dict[str, Any]:
    """List the models, as OpenAI does: those of this service, and OpenAI's model names."""
    return ModelsOut(data=[ModelOut(id=name) for name in _models()]).model_dump(mode="json")


@blueprint.get("/models/<model>", responses={200: ModelOut})
def get_model(path: ModelPath, query: NoQuery) -> dict[str, Any]:
    """Show a model, as OpenAI does."""
    if path.model not in _models():
        raise ModelNotFound(f"Unknown model {path.model!r}. Available models: {', '.join(_models())}.")
    return ModelOut(id=path.model).model_dump(mode="json")


def _models() -> Sequence[str]:
    return [*sorted({voice.model for voice in services().voices.all()}), *OPENAI_MODELS]
