"""The main job through a whole `stentor up`: texts in, merged, spoken by the real voice, stored, fetched."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support.stacks.stack import Stack, eventually

NOTICES = Path(__file__).parents[2] / "docs" / "examples" / "notices.txt"


def decoded(body: bytes) -> tuple[NDArray[np.float32], int]:
    samples, rate_hz = soundfile.read(io.BytesIO(body), dtype="float32")
    return samples, rate_hz


def test_run_json_says_how_to_reach_the_stack_and_who_runs(up: Stack) -> None:
    path = up.data_dir / "run.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_text())
    assert {"api_url", "api_key", "redis_url", "s3_endpoint", "s3_bucket", "processes"} <= set(told)
    assert {"valkey", "s3", "api", "io", "scheduler", "worker:cpu"} <= set(told["processes"])
    assert up.http("GET", "/readyz").json()["ready"] is True


def test_a_text_becomes_speech_that_lies_in_s3(up: Stack) -> None:
    with up.client() as client:
        text = {"text": "Your parcel arrives on Tuesday.", "cache": False}
        job = client.submit_job({**text, "metadata": {"order": "17"}})
        assert job["state"] == "queued"
        job = client.settled_job(job["id"], timeout_s=60)
        body = client.audio(job["id"])
    assert (job["state"], job["attempts"], job["voice"], job["metadata"]) == ("succeeded", 1, "joe", {"order": "17"})
    assert job["audio_url"] is not None
    assert httpx.get(job["audio_url"], trust_env=False).content == body
    samples, rate_hz = decoded(body)
    assert rate_hz == 22_050
    assert job["audio_s"] == pytest.approx(len(samples) / rate_hz, abs=1e-3)
    assert 1.0 < len(samples) / rate_hz < 4.0
    assert 0.05 < np.abs(samples).max() < 0.999


def test_texts_of_two_clients_that_wait_together_share_a_batch_of_which_both_can_see_the_size(up: Stack) -> None:
    other = up.cli("keys", "create", "--owner", "other", "--name", "e2e", "--json")
    other_key = json.loads(other.stdout)["key"]
    long = "We are sorry for the delay and thank you for your patience. " * 30
    with up.client() as mine, up.client(other_key) as theirs:
        # While the device speaks a long text, others gather.
        busy = mine.submit_job({"text": long, "priority": "interactive"})
        eventually(lambda: mine.job(busy["id"])["state"] == "running")
        ours = [mine.submit_job({"text": f"Aisle {number} is closed today."}) for number in (2, 3, 4)]
        foreign = [theirs.submit_job({"text": f"Aisle {number} is open again."}) for number in (5, 6, 7)]
        settled = [mine.settled_job(job["id"], timeout_s=60) for job in ours]
        settled += [theirs.settled_job(job["id"], timeout_s=60) for job in foreign]
        assert up.http("GET", f"/v1/jobs/{foreign[0]['id']}").status_code == 404
        assert mine.settled_job(busy["id"], timeout_s=60)["state"] == "succeeded"
    batches = [job["batch"] for job in settled]
    assert all(batch is not None and batch["size"] >= 6 for batch in batches), batches
    assert len({batch["id"] for batch in batches if batch}) == 1
    batch_id = batches[0]["id"] if batches[0] else None
    (line,) = [event for event in up.events("worker:cpu", "batch_spoken") if event["batch_id"] == batch_id]
    assert line["owners"] == 2


def test_a_text_sounds_the_same_alone_and_among_fifteen_others(up: Stack) -> None:
    wanted = {"text": "The lift near the bakery is out of order.", "seed": 11, "speed": 1.1, "cache": False}
    others = [{"text": line, "seed": at} for at, line in enumerate(NOTICES.read_text().splitlines()[:15])]
    (alone,) = up.speak([wanted])
    together = up.speak([*others[:7], wanted, *others[7:]])
    among = together[7]
    assert all(job["state"] == "succeeded" for job in together)
    assert among["batch"] is not None
    assert among["batch"]["size"] > 1
    with up.client() as client:
        first, second = (decoded(client.audio(job["id"]))[0] for job in (alone, among))
    assert len(first) == len(second)
    assert float(np.abs(first - second).max()) <= 5e-4


def test_the_same_job_gives_the_same_bytes_and_another_seed_gives_others(up: Stack) -> None:
    same = {"text": "Fresh bread is in aisle three.", "seed": 5, "format": "ogg", "cache": False}
    first, second, other = up.speak([same, same, {**same, "seed": 6}])
    assert first["sha256"] == second["sha256"]
    assert first["sha256"] != other["sha256"]
    assert [job["cached"] for job in (first, second, other)] == [False] * 3


def test_a_repeat_costs_nothing_and_says_so(up: Stack) -> None:
    text = {"text": "The car park closes in twenty minutes."}
    first, second = up.speak([text, text])
    assert sorted([first["cached"], second["cached"]]) == [False, True]
    with up.client() as client:
        third = client.submit_job(text)
        assert (third["state"], third["cached"], third["sha256"]) == ("succeeded", True, first["sha256"])
        assert client.audio(third["id"]) == client.audio(first["id"])


@pytest.mark.parametrize(
    ("name", "rate_hz", "kind"), [("wav", 8_000, "WAV"), ("flac", 44_100, "FLAC"), ("mp3", 16_000, "MP3"),
                                    ("ogg", 24_000, "OGG")],
)  # fmt: skip
def test_every_format_comes_at_the_rate_that_was_asked_for(up: Stack, name: str, rate_hz: int, kind: str) -> None:
    (job,) = up.speak([{"text": "Till number four is open.", "format": name, "sample_rate_hz": rate_hz}])
    inline = up.http("GET", f"/v1/jobs/{job['id']}/audio?inline=1")
    assert inline.status_code == 200
    with soundfile.SoundFile(io.BytesIO(inline.content)) as file:
        assert (file.format, file.samplerate, file.channels) == (kind, rate_hz, 1)
        assert file.frames / rate_hz == pytest.approx(job["audio_s"], abs=0.1)


def test_a_long_text_is_spoken_in_segments_and_joined(up: Stack) -> None:
    sentence = "The shop is open from nine in the morning until eight in the evening on every day of the week. "
    (job,) = up.speak([{"text": sentence * 12}])
    assert job["batch"] is not None
    assert job["batch"]["size"] >= 3
    assert 40 < (job["audio_s"] or 0) < 120


def test_bad_texts_are_refused_by_name_while_others_are_spoken(up: Stack) -> None:
    with up.client() as client:
        good = client.submit_jobs([{"text": f"Order number {number} is ready."} for number in range(10)])
        for text, code in (("", "text_empty"), (" \n\t ", "text_empty"), ("🎉🎊", "text_unspeakable"),
                           ("a" * 1_000_000, "text_too_long"), ("nul \x00 byte", "text_invalid")):  # fmt: skip
            answer = up.http("POST", "/v1/jobs", json={"text": text})
            assert (answer.status_code, answer.json()["code"]) == (422, code)
            assert answer.headers["Content-Type"] == "application/problem+json"
        assert [client.settled_job(job["id"], timeout_s=60)["state"] for job in good] == ["succeeded"] * 10
