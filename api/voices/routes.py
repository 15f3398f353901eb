"""`/v1/voices`: the voices, and uploads of new ones."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from flask import Response, redirect, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.http.auth import authorize, owner
from api.http.idempotency import new_id
from api.http.problems import Invalid, problem
from api.http.schemas import NoQuery
from api.http.uploads import expect_file
from api.jobs.schemas import GetAudioQuery
from api.services import services
from api.voices.schemas import VoiceForm, VoiceOut, VoicePath, VoicesOut
from api.waiting.waits import wait_for
from stentor import log
from stentor.doorbell import CHECK_RECORDING, REMOVE_RECORDINGS
from stentor.errors import (
    AudioNotFound,
    AudioNotReady,
    FieldInvalid,
    RecordingError,
    RecordingTooLarge,
    RedisUnavailable,
    StentorError,
    VoiceExists,
    VoiceNotFound,
)
from stentor.owners.access import VOICES
from stentor.voices.directory import cloning_model
from stentor.voices.recording import CHECKING, CONTENT_TYPE, FAILED, Recording, upload_key

_log = log.get(__name__)

#: How long an upload waits for its check; most take a second.
CHECK_WAIT_S = 45.0

blueprint = APIBlueprint(
    "voices", __name__, url_prefix="/v1/voices", abp_tags=[Tag(name="voices")], abp_security=[{"key": []}]
)
blueprint.before_request(authorize(write=VOICES))


@blueprint.before_request
def _expect_recording() -> None:
    if request.method == "POST":
        expect_file(RecordingTooLarge)


@blueprint.get("", responses={200: VoicesOut})
def list_voices(query: NoQuery) -> dict[str, Any]:
    """List the voices that a job may name: those of the models, and your uploaded ones."""
    default = services().settings.default_voice
    voices = [VoiceOut.of_model(voice, default=default) for voice in services().voices.all()]
    recordings = [_out(recording) for recording in services().recordings.list(owner())]
    return VoicesOut(voices=[*voices, *recordings]).model_dump(mode="json")


@blueprint.post("", responses={201: VoiceOut, 202: VoiceOut})
def add_voice(form: VoiceForm) -> tuple[dict[str, Any], int, dict[str, str]] | Response:
    """Upload a recording as your own voice.

    Returns when it has been checked: `201`, or `422` with what is wrong; `202` if the check takes longer.
    """
    _check_size(form.audio)
    if form.name in {".", ".."}:
        detail = "A voice cannot be named . or .., because its URL would lead elsewhere. Choose another name."
        raise Invalid([{"field": "name", "code": FieldInvalid.code, "detail": detail}])
    if form.name in services().voices.models():
        raise VoiceExists(f"A model already has a voice {form.name!r}. Choose another name.")
    recording = Recording(
        id=new_id("voice"),
        name=form.name,
        owner=owner(),
        language=form.language,
        consent=form.consent,
        transcript=form.transcript,
    )
    services().recordings.add(recording)
    try:
        services().storage.put_file(
            upload_key(recording.id), form.audio.stream, content_type="application/octet-stream"
        )
        services().doorbell.ask(CHECK_RECORDING, owner=recording.owner, name=recording.name, recording_id=recording.id)
    except StentorError:
        # No worker will check it. The next sweep removes its file from S3.
        services().recordings.delete(recording.id, recording.owner)
        raise
    return _upload_response(_wait_for_check(recording))


def _check_size(audio: Any) -> None:
    most = services().settings.recording_max_bytes
    size = audio.stream.seek(0, os.SEEK_END)
    audio.stream.seek(0)
    if size > most:
        raise RecordingTooLarge(f"The recording has {size} bytes. At most {most} are allowed.")


def _wait_for_check(recording: Recording) -> Recording:
    name = owner()
    wait_s = min(CHECK_WAIT_S, services().settings.max_wait_s)
    return wait_for(
        recording.id, lambda: services().recordings.get(recording.id, name), wait_s, over=lambda found: found.is_checked
    )


def _upload_response(recording: Recording) -> tuple[dict[str, Any], int, dict[str, str]] | Response:
    if recording.state == FAILED:
        with contextlib.suppress(VoiceNotFound):
            services().recordings.delete(recording.id, recording.owner)
        code = recording.error_code or RecordingError.code
        return problem(RecordingError.status, code, recording.error_detail or "")
    status = 202 if recording.state == CHECKING else 201
    location = url_for("voices.get_voice", voice=recording.id)
    return _out(recording).model_dump(mode="json"), status, {"Location": location}


@blueprint.get("/<voice>", responses={200: VoiceOut})
def get_voice(path: VoicePath, query: NoQuery) -> dict[str, Any]:
    """Show a voice."""
    found = services().voices.models().get(path.voice)
    if found is not None:
        return VoiceOut.of_model(found, default=services().settings.default_voice).model_dump(mode="json")
    return _out(services().recordings.get(path.voice, owner())).model_dump(mode="json")


@blueprint.get("/<voice>/preview")
def preview_voice(path: VoicePath, query: GetAudioQuery) -> Any:
    """Get the stored audio of an uploaded voice: a redirect to the storage, or the bytes with `inline=1`."""
    recording = _recording(path.voice)
    if recording.state == CHECKING:
        raise AudioNotReady("The voice is still being checked. Retry when its state is `ready`.")
    if recording.key is None:
        raise AudioNotFound(f"The voice is {recording.state} and has no audio.")
    filename = f"{recording.name}.wav"
    if not query.inline:
        return redirect(services().storage.url(recording.key, filename=filename, content_type=CONTENT_TYPE))
    response = Response(services().storage.stream(recording.key), mimetype=CONTENT_TYPE)
    response.set_etag(recording.sha256 or "")
    response.headers["Content-Disposition"] = f'inline; filename="{filename}"'
    return response


@blueprint.delete("/<voice>", responses={200: VoiceOut})
def delete_voice(path: VoicePath) -> dict[str, Any]:
    """Delete an uploaded voice. Its audio is removed at once, or after the last unfinished job that uses it."""
    deleted = services().recordings.delete(_recording(path.voice).id, owner())
    try:
        services().doorbell.ask(REMOVE_RECORDINGS)
    except RedisUnavailable as exc:
        # The voice is deleted: the io workers look for leftover audio every few seconds.
        _log.warning("doorbell_not_rung", reason=exc.detail)
    _log.info("voice_deleted", voice_id=deleted.id)
    return _out(deleted).model_dump(mode="json")


def _recording(name: str) -> Recording:
    found = services().recordings.find(name, owner())
    if found is not None:
        return found
    if name in services().voices.models():
        raise VoiceNotFound(f"The voice {name!r} belongs to a model. Only uploaded voices can be previewed or deleted.")
    raise VoiceNotFound(f"You have no uploaded voice {name!r}. GET /v1/voices lists your voices.")


def _out(recording: Recording) -> VoiceOut:
    speaks = cloning_model(services().voices.models())
    return VoiceOut.of_recording(recording, speaks, default=services().settings.default_voice)
