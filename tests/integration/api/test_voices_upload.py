"""Voices by upload, from the request to the job that speaks with one, on a real Redis and S3."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import soundfile
from flask.testing import FlaskClient

from api.app import create_app
from stentor.devices.registry import DeviceRegistry
from stentor.errors import AudioNotFound, CloningUnsupported, VoiceUnknown
from stentor.owners.access import READ, SUBMIT, KeyStore
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from stentor.voices.recording import audio_key, upload_key
from stentor.voices.recording_store import RecordingStore
from tests.conftest import OWNER
from tests.integration.api.test_jobs_api import refused
from tests.support.speech.factories import TONE, CloningEngine, ToneEngine, a_job
from tests.support.speech.recordings import CONSENT, IoHand, audio_file, form, leftovers, speech
from tests.support.work.device import Bench
from worker.device.voices import register_voices, voices_of
from worker.finishing import quality
from worker.recordings.sweep import sweep


@pytest.fixture
def io_hand(client: redis.Redis, storage: Storage) -> Iterator[IoHand]:
    with IoHand(client, storage) as hand:
        yield hand


@pytest.fixture
def clones(http: FlaskClient, client: redis.Redis, settings: Settings) -> CloningEngine:
    """An engine that can clone, and is there; in place of the one of ``http``, which cannot."""
    engine = CloningEngine()
    devices = DeviceRegistry(client, lease_s=settings.lease_s)
    register_voices(client, devices, voices_of([engine]), device_id="testhost/cpu")
    return engine


def other_key(client: redis.Redis, *, owner: str = "other", **rest: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {KeyStore(client).create(owner=owner, name='other', **rest)}"}


def there(storage: Storage, key: str) -> bool:
    try:
        storage.get(key)
    except AudioNotFound:
        return False
    return True


@pytest.mark.usefixtures("io_hand")
def test_a_recording_becomes_a_voice_that_is_mono_trimmed_and_as_loud_as_all_others(
    http: FlaskClient, client: redis.Redis, storage: Storage
) -> None:
    silence = speech(1.5, 44_100, channels=2, level=0)
    samples = np.concatenate([silence, speech(4, 44_100, channels=2, level=0.05), silence])
    body = audio_file(samples, 44_100, "FLAC")
    response = http.post("/v1/voices", data=form(body=body, transcript="Buzz, buzz."))
    voice = response.get_json()
    assert response.status_code == 201, voice
    assert response.headers["Location"] == f"/v1/voices/{voice['id']}"
    assert (voice["name"], voice["kind"], voice["languages"], voice["model"]) == ("ann", "recording", ["en"], None)
    known = voice["recording"]
    assert (known["state"], known["consent"], known["transcript"]) == ("ready", CONSENT, "Buzz, buzz.")
    assert known["original"] == {
        "format": "FLAC/PCM_16", "sample_rate_hz": 44_100, "channels": 2, "duration_s": 7.0,
    }  # fmt: skip
    assert 3.9 < known["duration_s"] < 4.25
    assert 25 < known["snr_db"] < 45
    assert known["clipped_share"] < 0.01
    assert known["error"] is None

    preview = http.get(f"/v1/voices/{voice['id']}/preview?inline=1")
    assert (preview.status_code, preview.content_type) == (200, "audio/wav")
    heard, rate_hz = soundfile.read(io.BytesIO(preview.data), dtype="float32", always_2d=True)
    assert (rate_hz, heard.shape[1]) == (24_000, 1)
    assert heard.shape[0] == round(known["duration_s"] * 24_000)
    assert abs(heard).max() < 10 ** (-0.9 / 20)
    assert abs((quality.loudness_lufs(heard[:, 0], 24_000) or 0) - -20) < 0.5
    redirect = http.get("/v1/voices/ann/preview")
    assert redirect.status_code == 302
    assert audio_key(known["sha256"]) in redirect.headers["Location"]

    assert http.get("/v1/voices/ann").get_json() == voice == http.get(f"/v1/voices/{voice['id']}").get_json()
    assert http.get("/v1/voices").get_json()["voices"][1:] == [voice]
    assert not there(storage, upload_key(voice["id"]))
    assert leftovers(Path(tempfile.gettempdir())) == []


def test_a_voice_that_takes_longer_to_check_is_there_as_checking(
    client: redis.Redis, settings: Settings, api_key: str, http: FlaskClient, storage: Storage
) -> None:
    app = create_app(settings.model_copy(update={"max_wait_s": 0.1}))
    with app.test_client() as quick:
        quick.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
        response = quick.post("/v1/voices", data=form())
        assert (response.status_code, response.get_json()["recording"]["state"]) == (202, "checking")
        refused(quick.get("/v1/voices/ann/preview"), 409, "audio_not_ready")
        problem = refused(quick.post("/v1/jobs", json={"text": "Hello.", "voice": "ann"}), 422, "voice_unknown")
        assert "is checking" in str(problem["detail"])
        # Deleted before anybody looked at it: what was uploaded goes as well.
        upload = upload_key(response.get_json()["id"])
        assert there(storage, upload)
        assert quick.delete("/v1/voices/ann").status_code == 200
    with IoHand(client, storage) as hand:
        hand.wait_until_idle()
    assert not there(storage, upload)
    assert client.hlen(keys.DELETED_RECORDINGS) == 0


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"name": "ann smith"}, "field_invalid", "name"),
        ({"name": ""}, "field_invalid", "name"),
        ({"name": "a" * 65}, "field_invalid", "name"),
        ({"name": "../../etc"}, "field_invalid", "name"),
        ({"name": None}, "field_invalid", "name"),
        ({"consent": None}, "field_invalid", "consent"),
        ({"consent": "yes"}, "field_invalid", "consent"),
        ({"consent": "- " * 20}, "field_invalid", "consent"),
        ({"consent": "x" * 1001}, "field_invalid", "consent"),
        ({"language": None}, "field_invalid", "language"),
        ({"language": "english, please"}, "field_invalid", "language"),
        ({"transcript": "x" * 2001}, "field_invalid", "transcript"),
        ({"audio": None}, "field_invalid", "audio"),
        ({"audio": "not a file"}, "field_invalid", "audio"),
        ({"langauge": "en"}, "field_invalid", "langauge"),
    ],
)
def test_a_wrong_field_of_an_upload_is_named_and_nothing_is_kept(
    http: FlaskClient, client: redis.Redis, fields: dict[str, Any], code: str, field: str
) -> None:
    response = http.post("/v1/voices", data=form(**fields), content_type="multipart/form-data")
    problem = refused(response, 422, code)
    assert field in [error["field"] for error in problem["errors"]]  # type: ignore[attr-defined]
    assert client.hlen(keys.recordings(OWNER)) == 0


def test_a_body_that_is_no_form_is_refused(http: FlaskClient) -> None:
    refused(http.post("/v1/voices", json={"name": "ann"}), 415, "content_type_unsupported")


@pytest.mark.usefixtures("io_hand")
def test_names_are_kept_as_they_were_sent(http: FlaskClient) -> None:
    assert http.post("/v1/voices", data=form("1.0")).get_json()["name"] == "1.0"
    assert http.post("/v1/voices", data=form("null")).get_json()["name"] == "null"


@pytest.mark.usefixtures("io_hand")
def test_a_name_is_given_once(http: FlaskClient, client: redis.Redis) -> None:
    refused(http.post("/v1/voices", data=form(TONE)), 409, "voice_exists")
    assert http.post("/v1/voices", data=form()).status_code == 201
    refused(http.post("/v1/voices", data=form()), 409, "voice_exists")
    assert http.post("/v1/voices", data=form(), headers=other_key(client)).status_code == 201


@pytest.mark.usefixtures("io_hand")
def test_a_refused_recording_leaves_its_name_free_and_nothing_behind(
    http: FlaskClient, client: redis.Redis, storage: Storage
) -> None:
    problem = refused(http.post("/v1/voices", data=form(body=b"%PDF-1.7 nothing to hear")), 422, "recording_unreadable")
    assert problem["retryable"] is False
    refused(http.get("/v1/voices/ann"), 404, "voice_not_found")
    assert http.post("/v1/voices", data=form()).status_code == 201
    sweep(client, storage)
    assert client.hlen(keys.DELETED_RECORDINGS) == 0


def test_an_upload_that_is_sent_twice_makes_one_voice(http: FlaskClient, client: redis.Redis, storage: Storage) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    with IoHand(client, storage) as hand:
        first = http.post("/v1/voices", data=form(), headers=headers)
        again = http.post("/v1/voices", data=form(), headers=headers)
        # What another worker finds that was given the same task, too late: the upload is gone.
        lost = dataclasses.replace(RecordingStore(client).get("ann", OWNER), state="failed", key=None, sha256=None)
        assert RecordingStore(client).end_check(lost)
        RecordingStore(client).add(dataclasses.replace(lost, state="checking"))
        hand.wait_until_idle()
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json()["id"] == first.get_json()["id"]
    assert http.get("/v1/voices/ann").get_json() == first.get_json()
    assert http.get("/v1/voices/ann/preview?inline=1").status_code == 200


def test_a_recording_of_a_byte_too_many_is_refused(
    client: redis.Redis, settings: Settings, api_key: str, http: FlaskClient
) -> None:
    assert settings.recording_max_bytes == 50_000_000
    app = create_app(settings.model_copy(update={"recording_max_bytes": 150_000, "max_body_bytes": 1024}))
    with app.test_client() as small, IoHand(client, Storage(settings)):
        small.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
        body = audio_file(speech(2.5)).ljust(150_000, b"\0")
        assert small.post("/v1/voices", data=form(body=body)).status_code == 201
        problem = refused(small.post("/v1/voices", data=form("bob", body + b"\0")), 413, "recording_too_large")
        assert problem["detail"] == "The recording has 150001 bytes. At most 150000 are allowed."
        refused(small.post("/v1/voices", data=form("bob", body + bytes(300_000))), 413, "recording_too_large")


def test_a_key_needs_the_scope_voices_to_add_one(http: FlaskClient, client: redis.Redis) -> None:
    headers = other_key(client, owner=OWNER, scopes=(SUBMIT, READ))
    refused(http.post("/v1/voices", data=form(), headers=headers), 403, "scope_missing")
    refused(http.delete("/v1/voices/ann", headers=headers), 403, "scope_missing")
    assert http.get("/v1/voices", headers=headers).status_code == 200


@pytest.mark.usefixtures("io_hand", "clones")
def test_an_owners_voices_are_nobody_elses(http: FlaskClient, client: redis.Redis) -> None:
    voice = http.post("/v1/voices", data=form()).get_json()
    stranger = other_key(client)
    for name in ("ann", voice["id"]):
        refused(http.get(f"/v1/voices/{name}", headers=stranger), 404, "voice_not_found")
        refused(http.get(f"/v1/voices/{name}/preview", headers=stranger), 404, "voice_not_found")
        refused(http.delete(f"/v1/voices/{name}", headers=stranger), 404, "voice_not_found")
        job = {"text": "Hello.", "voice": name}
        refused(http.post("/v1/jobs", json=job, headers=stranger), 422, "voice_unknown")
        assert http.post("/v1/jobs", json=job).status_code == 202
    assert [one["name"] for one in http.get("/v1/voices", headers=stranger).get_json()["voices"]] == [TONE]


def test_a_models_voice_can_be_looked_at_and_no_more(http: FlaskClient) -> None:
    voice = http.get(f"/v1/voices/{TONE}").get_json()
    assert (voice["id"], voice["kind"], voice["recording"]) == (TONE, "model", None)
    refused(http.get(f"/v1/voices/{TONE}/preview"), 404, "voice_not_found")
    refused(http.delete(f"/v1/voices/{TONE}"), 404, "voice_not_found")


# --- speaking


@pytest.mark.usefixtures("io_hand")
def test_models_that_cannot_clone_refuse_such_a_voice_by_name(http: FlaskClient) -> None:
    http.post("/v1/voices", data=form())
    problem = refused(http.post("/v1/jobs", json={"text": "Hello.", "voice": "ann"}), 422, "cloning_unsupported")
    assert problem["errors"] == [
        {
            "field": "voice",
            "code": "cloning_unsupported",
            "detail": "Voice 'ann' is a recording, and no model here can clone voices. Models: tone.",
        }
    ]


@pytest.mark.usefixtures("io_hand")
def test_a_job_speaks_with_the_recording(
    http: FlaskClient, client: redis.Redis, storage: Storage, clones: CloningEngine, make: Callable[..., Bench]
) -> None:
    voice = http.post("/v1/voices", data=form()).get_json()
    assert (voice["model"], voice["sample_rate_hz"]) == (TONE, 16_000)
    job = http.post("/v1/jobs", json={"text": "Hello there.", "voice": voice["id"]}).get_json()
    assert job["voice"] == "ann"
    assert client.smembers(keys.recording_uses(voice["id"])) == {job["id"]}
    assert not make(clones).run()
    spoken = http.get(f"/v1/jobs/{job['id']}").get_json()
    assert spoken["state"] == "succeeded"
    (heard,) = clones.voices_heard
    assert (heard.name, heard.recording) == ("ann", voice["id"])
    assert heard.recording_key is not None
    assert storage.get(heard.recording_key)[:4] == b"RIFF"
    assert client.exists(keys.recording_uses(voice["id"])) == 0


@pytest.mark.usefixtures("io_hand", "clones")
def test_equal_texts_with_other_recordings_are_no_equal_jobs(
    http: FlaskClient, clones: CloningEngine, make: Callable[..., Bench]
) -> None:
    http.post("/v1/voices", data=form())
    job = {"text": "Hello there.", "voice": "ann"}
    http.post("/v1/jobs", json=job)
    bench = make(clones)
    bench.run()
    assert http.post("/v1/jobs", json=job).get_json()["cached"] is True
    http.delete("/v1/voices/ann")
    http.post("/v1/voices", data=form(body=audio_file(speech(3.5))))
    assert http.post("/v1/jobs", json=job).get_json()["cached"] is False


def test_a_job_with_a_recording_fails_by_name_where_the_model_cannot_clone_any_more(
    client: redis.Redis, make: Callable[..., Bench]
) -> None:
    bench = make(ToneEngine())
    job, other = bench.submit(a_job(voice="ann", recording="voice_1", recording_key="voices/audio/1.wav"), a_job())
    bench.run()
    assert (bench.now(job).state, bench.now(job).error_code) == ("failed", "cloning_unsupported")
    assert bench.now(other).state == "succeeded"
    assert bench.nothing_is_left()


# --- deleting


@pytest.mark.usefixtures("clones")
def test_a_deleted_voice_is_gone_at_once_and_its_audio_after_the_last_job(
    http: FlaskClient, client: redis.Redis, storage: Storage, clones: CloningEngine, make: Callable[..., Bench]
) -> None:
    with IoHand(client, storage):
        voice = http.post("/v1/voices", data=form()).get_json()
    key = audio_key(voice["recording"]["sha256"])
    job = http.post("/v1/jobs", json={"text": "Hello there.", "voice": "ann"}).get_json()
    assert http.delete("/v1/voices/ann").get_json()["id"] == voice["id"]
    refused(http.get("/v1/voices/ann"), 404, "voice_not_found")
    refused(http.delete("/v1/voices/ann"), 404, "voice_not_found")
    refused(http.get(f"/v1/voices/{voice['id']}/preview"), 404, "voice_not_found")
    refused(http.post("/v1/jobs", json={"text": "Hello again.", "voice": "ann"}), 422, "voice_unknown")
    with IoHand(client, storage) as hand:
        hand.wait_until_idle()
    assert there(storage, key)
    assert sweep(client, storage) == 0

    make(clones).run()
    assert http.get(f"/v1/jobs/{job['id']}").get_json()["state"] == "succeeded"
    assert sweep(client, storage) == 1
    assert not there(storage, key)
    assert sweep(client, storage) == 0
    assert list(client.scan_iter("stentor:recording*")) == []


def test_deleting_an_unused_voice_removes_its_audio(http: FlaskClient, client: redis.Redis, storage: Storage) -> None:
    with IoHand(client, storage) as hand:
        key = audio_key(http.post("/v1/voices", data=form()).get_json()["recording"]["sha256"])
        assert there(storage, key)
        http.delete("/v1/voices/ann")
        hand.wait_until_idle()
    assert not there(storage, key)


def test_the_same_audio_of_two_voices_is_kept_once_until_both_are_gone(
    http: FlaskClient, client: redis.Redis, storage: Storage
) -> None:
    with IoHand(client, storage) as hand:
        first = http.post("/v1/voices", data=form()).get_json()
        second = http.post("/v1/voices", data=form(), headers=(stranger := other_key(client))).get_json()
        assert first["recording"]["sha256"] == second["recording"]["sha256"]
        key = audio_key(first["recording"]["sha256"])
        http.delete("/v1/voices/ann")
        hand.wait_until_idle()
        assert there(storage, key)
        assert http.get("/v1/voices/ann/preview?inline=1", headers=stranger).status_code == 200
        http.delete("/v1/voices/ann", headers=stranger)
        hand.wait_until_idle()
    assert not there(storage, key)


def test_a_bulk_that_was_accepted_with_a_voice_keeps_it_until_it_has_ended(
    http: FlaskClient, client: redis.Redis, storage: Storage, clones: CloningEngine
) -> None:
    with IoHand(client, storage) as hand:
        voice = http.post("/v1/voices", data=form()).get_json()
        client.sadd(keys.recording_uses(voice["id"]), "bulk_1")
        client.hset(keys.bulk("bulk_1"), "state", "paused")
        http.delete("/v1/voices/ann")
        http.post("/v1/voices", data=form(body=audio_file(speech(5))))
        hand.wait_until_idle()
    directory = VoiceDirectory(client)
    key = audio_key(voice["recording"]["sha256"])
    assert directory.of(OWNER, kept=[voice["id"]]).get("ann").recording_key == key
    assert directory.of(OWNER).get("ann").recording_key != key
    with pytest.raises(VoiceUnknown):
        directory.of("other", kept=[voice["id"]]).get("ann")
    assert there(storage, key)

    client.hset(keys.bulk("bulk_1"), "state", "succeeded")
    assert sweep(client, storage) == 1
    assert not there(storage, key)
    assert directory.of(OWNER, kept=[voice["id"]]).get("ann").recording_key != key


def test_a_use_that_is_gone_keeps_nothing(http: FlaskClient, client: redis.Redis, storage: Storage) -> None:
    with IoHand(client, storage):
        voice = http.post("/v1/voices", data=form()).get_json()
    client.sadd(keys.recording_uses(voice["id"]), "bulk_gone", "job_gone")
    http.delete("/v1/voices/ann")
    assert sweep(client, storage) == 1


def test_who_looks_up_many_voices_gets_the_same_errors(
    http: FlaskClient, client: redis.Redis, storage: Storage
) -> None:
    with IoHand(client, storage):
        http.post("/v1/voices", data=form())
    mine = VoiceDirectory(client).of(OWNER)
    assert mine.get(TONE).model == TONE
    with pytest.raises(CloningUnsupported, match="Voice 'ann' is a recording"):
        mine.get("ann")
    with pytest.raises(VoiceUnknown, match='Unknown voice "bob"'):
        mine.get("bob")
