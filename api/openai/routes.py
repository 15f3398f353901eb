"""OpenAI's endpoints, so that its clients work unchanged: `/v1/audio/speech` and `/v1/models`."""

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
    VoiceUnknown,
    error_class,
)
from stentor.formats import FORMATS
from stentor.jobs.job import Job, JobState, Priority
from stentor.voices.voice import Voice

_log = log.get(__name__)

JOB_HEADER: Final = "X-Stentor-Job"
#: OpenAI's own models of speech. Here they mean: the model that has the voice.
OPENAI_MODELS: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
#: OpenAI's raw samples are 16-bit, little-endian, mono, at this rate.
PCM_HZ: Final = 24_000

blueprint = APIBlueprint(
    "speech", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize())


@blueprint.post("/audio/speech")
@replays_by_repeating
def create_speech(body: SpeechRequest) -> Response:
    """Speak a text and answer with the audio, as OpenAI does: an `interactive` job that is waited for."""
    if body.instructions:
        raise InstructionsUnsupported("instructions: no model here follows any; leave the field out, or empty")
    voice = _voice(body)
    request = JobRequest.model_validate(
        {
            "text": body.input,
            # A recording may have the name of a model's voice that came later; its id is its own.
            "voice": voice.recording or voice.name,
            "speed": body.speed,
            "format": FORMAT_OF[body.response_format],
            "sample_rate_hz": PCM_HZ if body.response_format == "pcm" else None,
            "priority": Priority.INTERACTIVE.value,
        }
    )
    (made,) = jobs_from([request], key=key(), services=services(), many=False)
    made = dataclasses.replace(made, id=_unspent_id())
    (job,) = services().jobs.submit([made], limits=limits_of(key()), ring=ring)
    response = _answer(_waited_for(job), body.response_format)
    response.headers[JOB_HEADER] = job.id
    return response


def _unspent_id() -> str:
    """The id of the job of this request. Under an idempotency key it is that of the try before, unless that try's job
    was too late, or failed for the moment: then trying again tries again.
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
    """The voice that is meant, spoken by the model that is meant.

    Raises:
        ModelNotFound: no model or engine here has this name, and it is none of OpenAI's.
        Invalid: there is no such voice, or another model has it.
    """
    models = services().voices.models().values()
    names = {name for voice in models for name in (voice.model, voice.engine)}
    if body.model not in names and body.model not in OPENAI_MODELS:
        raise ModelNotFound(
            f"there is no model {body.model!r}; there are {', '.join(sorted(names))}, and those of OpenAI's names"
        )
    try:
        voice = _named(body.voice)
    except RequestError as exc:
        raise Invalid([{"field": "voice", "code": exc.code, "detail": exc.detail}]) from exc
    if body.model not in {voice.model, voice.engine, *OPENAI_MODELS}:
        detail = f"the voice {voice.name!r} is one of the model {voice.model!r}, not of {body.model!r}"
        raise Invalid([{"field": "voice", "code": VoiceUnknown.code, "detail": detail}])
    return voice


def _named(name: str) -> Voice:
    """A voice of ours, or the one that ``STENTOR_OPENAI_VOICES`` has for one of OpenAI's."""
    try:
        return services().voices.get(name, owner())
    except VoiceUnknown:
        ours = dict(pair.split("=") for pair in (services().settings.openai_voices or "").split(",") if pair).get(name)
        if ours is None:
            raise
    return services().voices.get(ours, owner())


def _waited_for(job: Job) -> Job:
    """The job with its outcome.

    Raises:
        SpeechLate: it has none in time; it is canceled then.
    """
    wait_s, name = services().settings.speech_wait_s, owner()
    job = services().outcomes.wait(
        job.id, lambda: services().jobs.get(job.id, name), wait_s, over=lambda found: found.settled, patient=True
    )
    if job.settled:
        return job
    try:
        services().jobs.cancel(job.id, name)
    except JobSettled:
        return services().jobs.get(job.id, name)
    _log.warning("speech_late", job_id=job.id, waited_s=wait_s)
    raise SpeechLate(f"the speech was not made within {wait_s:g} s; the job {job.id} is canceled")


def _answer(job: Job, wanted: str) -> Response:
    if job.state == JobState.FAILED:
        return _failure(job)
    if job.state != JobState.SUCCEEDED or job.audio_key is None:
        raise AudioNotFound(f"the job {job.id} was {job.state}; it has no audio")
    if wanted == "pcm":
        return Response(_samples_of(services().storage.get(job.audio_key)), mimetype="audio/pcm")
    response = Response(services().storage.stream(job.audio_key), mimetype=FORMATS[job.speech.format].content_type)
    response.headers["Content-Length"] = str(job.audio_bytes)
    return response


def _samples_of(body: bytes) -> bytes:
    with wave.open(io.BytesIO(body)) as file:
        samples: bytes = file.readframes(file.getnframes())
    return samples


def _failure(job: Job) -> Response:
    """The job's error: of the text, of the moment, or of the service."""
    code, detail = job.error_code or StentorError.code, job.error_detail or "the job failed"
    kind = error_class(code)
    if issubclass(kind, RequestError):
        return problem(kind.status, code, detail)
    return problem(503 if job.error_retryable else 500, code, detail, retryable=bool(job.error_retryable))


@blueprint.get("/models", responses={200: ModelsOut})
def list_models(query: NoQuery) -> dict[str, Any]:
    """List the models, as OpenAI does: those of this service, and OpenAI's names for them."""
    return ModelsOut(data=[ModelOut(id=name) for name in _models()]).model_dump(mode="json")


@blueprint.get("/models/<model>", responses={200: ModelOut})
def get_model(path: ModelPath, query: NoQuery) -> dict[str, Any]:
    """Look at a model, as OpenAI does."""
    if path.model not in _models():
        raise ModelNotFound(f"there is no model {path.model!r}; there are {', '.join(_models())}")
    return ModelOut(id=path.model).model_dump(mode="json")


def _models() -> Sequence[str]:
    return [*sorted({voice.model for voice in services().voices.all()}), *OPENAI_MODELS]
