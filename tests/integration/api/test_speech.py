"""OpenAI's endpoint with OpenAI's own client, unchanged, over real HTTP, with a device that speaks tones."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest
import redis
import soundfile
from numpy.typing import NDArray
from werkzeug.serving import make_server

from api.app import create_app
from stentor.jobs.records import read_job
from stentor.owners.access import READ, KeyStore, Limits
from stentor.redis import keys
from stentor.redis.client import text_map
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.conftest import OWNER, register_voice
from tests.integration.api.test_openapi import QuietHandler
from tests.support.speech.factories import TONE, ToneEngine
from tests.support.speech.recordings import IoHand, form
from tests.support.work.device import Bench, speaking

#: 20 characters: 2 s of tone.
TEXT = "Twenty letters here."

Make = Callable[..., Bench]


@contextmanager
def served(settings: Settings, **changes: object) -> Iterator[str]:
    app = create_app(settings.model_copy(update=changes))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def talking(url: str, api_key: str, **options: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=api_key, max_retries=0, timeout=30, **options) as client:
        yield client


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of this machine is not for a server on loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def url(client: redis.Redis, settings: Settings) -> Iterator[str]:
    register_voice(client)
    with served(settings, openai_voices=f"alloy={TONE},nova=nobody") as address:
        yield address


@pytest.fixture
def device(url: str, make: Make) -> Iterator[ToneEngine]:
    with speaking(make()) as engine:
        yield engine


@pytest.fixture
def ai(url: str, api_key: str) -> Iterator[openai.OpenAI]:
    with talking(url, api_key) as client:
        yield client


def heard(body: bytes) -> tuple[NDArray[np.float32], int, str]:
    """The samples of an audio file, its rate, and its codec, by a decoder that is not ours."""
    with av.open(io.BytesIO(body), "r") as container:
        stream = container.streams.audio[0]
        pieces = [frame.to_ndarray() for frame in container.decode(stream)]
        samples = np.concatenate([piece.reshape(-1) for piece in pieces])
        if samples.dtype.kind == "i":
            samples = samples / float(np.iinfo(samples.dtype).max)
        return samples.astype(np.float32), stream.rate, stream.codec_context.name


def jobs_of(client: redis.Redis) -> list[dict[str, str]]:
    return [text_map(client.hgetall(key)) for key in client.scan_iter("stentor:job:*")]


# --- what is said


@pytest.mark.parametrize(
    ("response_format", "content_type", "codec", "rate_hz"),
    [
        ("mp3", "audio/mpeg", "mp3", 16_000),
        ("opus", "audio/ogg", "opus", 48_000),
        ("flac", "audio/flac", "flac", 16_000),
        ("wav", "audio/wav", "pcm_s16le", 16_000),
    ],
)
def test_the_official_client_gets_the_audio(
    ai: openai.OpenAI, device: ToneEngine, response_format: Any, content_type: str, codec: str, rate_hz: int
) -> None:
    answer = ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT, response_format=response_format)
    assert answer.response.headers["Content-Type"] == content_type
    assert answer.response.headers["X-Stentor-Job"].startswith("job_")
    assert int(answer.response.headers["Content-Length"]) == len(answer.content)
    samples, seen_hz, seen_codec = heard(answer.content)
    assert (seen_codec.removeprefix("lib").removesuffix("float"), seen_hz) == (codec, rate_hz)
    assert len(samples) / seen_hz == pytest.approx(2.0, abs=0.12)
    # A sine whose peak is 0.5. Opus overshoots for a moment where it begins.
    assert float(np.sqrt(np.mean(samples**2))) == pytest.approx(0.354, abs=0.02)
    assert float(np.percentile(np.abs(samples), 99)) == pytest.approx(0.5, abs=0.03)


def test_the_default_format_is_mp3_as_at_openai(ai: openai.OpenAI, device: ToneEngine) -> None:
    answer = ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT)
    assert heard(answer.content)[2].startswith("mp3")


def test_pcm_is_raw_samples_at_24_khz(ai: openai.OpenAI, device: ToneEngine) -> None:
    answer = ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT, response_format="pcm")
    assert answer.response.headers["Content-Type"] == "audio/pcm"
    samples = np.frombuffer(answer.content, "<i2") / 32768
    assert len(samples) == 48_000
    assert float(np.abs(samples).max()) == pytest.approx(0.5, abs=0.01)


def test_the_streaming_answer_is_the_same(ai: openai.OpenAI, device: ToneEngine, tmp_path: Any) -> None:
    whole = ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT, response_format="flac").content
    with ai.audio.speech.with_streaming_response.create(
        model="tts-1", voice=TONE, input=TEXT, response_format="flac", stream_format="audio"
    ) as answer:
        answer.stream_to_file(tmp_path / "streamed.flac")
    assert (tmp_path / "streamed.flac").read_bytes() == whole
    assert soundfile.info(tmp_path / "streamed.flac").duration == pytest.approx(2.0)


def test_it_is_an_interactive_job_like_any_other(
    ai: openai.OpenAI, device: ToneEngine, client: redis.Redis, api_key: str
) -> None:
    answer = ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT, speed=1.5)
    (job,) = jobs_of(client)
    assert job["id"] == answer.response.headers["X-Stentor-Job"]
    assert {name: job[name] for name in ("owner", "priority", "state", "text")} == {
        "owner": OWNER, "priority": "interactive", "state": "succeeded", "text": TEXT,
    }  # fmt: skip
    speech = read_job(job).speech
    assert (speech.speed, speech.format) == (1.5, "mp3")
    usage = [text_map(client.hgetall(key)) for key in client.scan_iter("stentor:usage:*:*")]
    assert [(found["characters"], found["jobs"]) for found in usage] == [("20", "1")]


def test_voices_go_by_name_by_id_and_by_openais_names(ai: openai.OpenAI, device: ToneEngine) -> None:
    for voice in (TONE, "alloy", {"id": TONE}):
        assert ai.audio.speech.create(model="tts-1", voice=voice, input=TEXT, response_format="wav").content  # type: ignore[arg-type]


def test_models_are_ours_or_openais(ai: openai.OpenAI, device: ToneEngine) -> None:
    for model in (TONE, "tts-1", "tts-1-hd", "gpt-4o-mini-tts"):
        assert ai.audio.speech.create(model=model, voice=TONE, input=TEXT).content
    assert [model.id for model in ai.models.list()] == [TONE, "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    found = ai.models.retrieve(TONE)
    assert (found.id, found.object, found.owned_by) == (TONE, "model", "stentor")


def test_an_idempotency_key_makes_one_job(url: str, api_key: str, device: ToneEngine, client: redis.Redis) -> None:
    body = {"model": "tts-1", "voice": TONE, "input": TEXT}
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": "one"}
    with httpx.Client(trust_env=False, timeout=30) as plain:
        first, second = (plain.post(f"{url}/audio/speech", json=body, headers=headers) for _ in range(2))
        other = plain.post(f"{url}/audio/speech", json=body | {"input": "Another."}, headers=headers)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert len(jobs_of(client)) == 1
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": ""}, "input", "text_empty"),
        ({"input": "🎉"}, "input", "text_unspeakable"),
        ({"input": "a" * 20_000}, "input", "text_too_long"),
        ({"voice": "shimmer"}, "voice", "voice_unknown"),
        ({"voice": "nova"}, "voice", "voice_unknown"),
        ({"voice": {"id": "voice_none"}}, "voice", "voice_unknown"),
        ({"response_format": "aac"}, "response_format", "field_invalid"),
        ({"speed": 9.0}, "speed", "field_invalid"),
        ({"instructions": "Whisper."}, "instructions", "instructions_unsupported"),
        ({"stream_format": "sse"}, "stream_format", "field_invalid"),
        ({"extra_body": {"voise": "joe"}}, "voise", "field_invalid"),
    ],
)
def test_a_wrong_field_is_a_bad_request_that_names_it(
    ai: openai.OpenAI, client: redis.Redis, fields: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ai.audio.speech.create(**{"model": "tts-1", "voice": TONE, "input": TEXT, **fields})
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
    assert caught.value.body["message"]  # type: ignore[index]
    assert jobs_of(client) == []


def test_empty_instructions_ask_for_nothing(ai: openai.OpenAI, device: ToneEngine) -> None:
    assert ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT, instructions="").content


def test_a_model_that_is_not_there_is_not_found(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ai.audio.speech.create(model="tts-9", voice=TONE, input=TEXT)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("tts-9")


def test_a_voice_of_another_model_is_named(ai: openai.OpenAI, client: redis.Redis) -> None:
    register_voice(client, "second")
    with pytest.raises(openai.BadRequestError, match="The voice 'tone' belongs to the model 'tone', not to 'second'"):
        ai.audio.speech.create(model="second", voice=TONE, input=TEXT)


def test_a_recording_needs_a_model_that_clones(
    url: str, ai: openai.OpenAI, client: redis.Redis, storage: Storage, api_key: str
) -> None:
    with IoHand(client, storage), httpx.Client(trust_env=False, timeout=30) as plain:
        fields = form()
        name, audio = "ann", fields.pop("audio")
        files = {"audio": (audio[1], audio[0])}  # type: ignore[index]
        answer = plain.post(f"{url}/voices", data=fields, files=files, headers={"Authorization": f"Bearer {api_key}"})
        assert answer.status_code == 201, answer.text
    with pytest.raises(openai.BadRequestError) as caught:
        ai.audio.speech.create(model="tts-1", voice=name, input=TEXT)
    assert caught.value.code == "cloning_unsupported"


def test_without_a_key_it_is_an_authentication_error(url: str) -> None:
    with talking(url, "stk_wrong") as stranger, pytest.raises(openai.AuthenticationError) as caught:
        stranger.audio.speech.create(model="tts-1", voice=TONE, input=TEXT)
    assert caught.value.code == "key_invalid"


def test_a_key_that_may_only_look_is_denied(url: str, client: redis.Redis) -> None:
    reader = KeyStore(client).create(owner=OWNER, name="reader", scopes=(READ,))
    with talking(url, reader) as looking:
        assert looking.models.list().data
        with pytest.raises(openai.PermissionDeniedError):
            looking.audio.speech.create(model="tts-1", voice=TONE, input=TEXT)


def test_a_limit_is_a_rate_limit_error_that_says_when(url: str, client: redis.Redis) -> None:
    limited = KeyStore(client).create(owner=OWNER, name="small", limits=Limits(daily_chars=10))
    with talking(url, limited) as small, pytest.raises(openai.RateLimitError) as caught:
        small.audio.speech.create(model="tts-1", voice=TONE, input=TEXT)
    assert (caught.value.code, caught.value.type) == ("daily_chars_exceeded", "rate_limit_error")
    assert int(caught.value.response.headers["Retry-After"]) >= 1
    seldom = KeyStore(client).create(owner=OWNER, name="seldom", limits=Limits(rate="1/minute"))
    with talking(url, seldom) as slow:
        slow.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            slow.models.list()
    assert caught.value.code == "rate_exceeded"


def test_what_http_itself_refuses_has_openais_shape_as_well(url: str, api_key: str) -> None:
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {api_key}"}) as plain:
        answers = {
            (404, "path_unknown"): plain.post(f"{url}/audio/transcriptions", json={}),
            (405, "method_not_allowed"): plain.get(f"{url}/audio/speech"),
            (415, "content_type_unsupported"): plain.post(f"{url}/audio/speech", content="hello"),
            (400, "json_invalid"): plain.post(
                f"{url}/audio/speech", content="{", headers={"Content-Type": "application/json"}
            ),
        }
    for (status, code), answer in answers.items():
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/json"


# --- what goes wrong


def test_speech_that_is_late_is_canceled(client: redis.Redis, settings: Settings, api_key: str) -> None:
    register_voice(client)
    with (
        served(settings, speech_wait_s=0.2) as url,
        talking(url, api_key) as ai,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ai.audio.speech.create(model="tts-1", voice=TONE, input=TEXT)
    assert (caught.value.status_code, caught.value.code) == (503, "speech_late")
    assert caught.value.response.headers["Retry-After"] == "5"
    (job,) = jobs_of(client)
    assert job["state"] == "canceled"
    assert job["id"] in caught.value.message
    assert sum(client.xlen(str(lane)) for lane in client.smembers(keys.LANES)) == 0


def test_speech_that_was_late_is_made_when_it_is_asked_for_again_with_the_same_key(
    client: redis.Redis, settings: Settings, api_key: str, make: Make
) -> None:
    register_voice(client)
    body = {"model": "tts-1", "voice": TONE, "input": TEXT}
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": "one"}
    with httpx.Client(trust_env=False, timeout=60) as plain:
        with served(settings, speech_wait_s=0.2) as url:
            late = plain.post(f"{url}/audio/speech", json=body, headers=headers)
        # With all the time that a device may take to load its model here.
        with served(settings) as url, speaking(make()):
            made = [plain.post(f"{url}/audio/speech", json=body, headers=headers) for _ in range(2)]
    assert (late.status_code, late.json()["error"]["code"]) == (503, "speech_late")
    assert [answer.status_code for answer in made] == [200, 200]
    assert made[0].headers["X-Stentor-Job"] == made[1].headers["X-Stentor-Job"]
    assert sorted(job["state"] for job in jobs_of(client)) == ["canceled", "succeeded"]


def test_a_text_that_fails_is_told_as_a_server_error(ai: openai.OpenAI, device: ToneEngine) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ai.audio.speech.create(model="tts-1", voice=TONE, input="This is poison.")
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (500, "engine_failed", "server_error")
    assert "this text is poison" in caught.value.message
    assert caught.value.response.headers["X-Stentor-Job"].startswith("job_")
