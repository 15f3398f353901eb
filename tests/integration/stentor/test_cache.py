"""Repeats cost nothing: equal jobs share one audio file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import redis
from flask.testing import FlaskClient

from stentor.jobs.cache import fingerprint
from stentor.redis import keys
from stentor.speech import SpeechParams
from stentor.voices.voice import Voice
from tests.support.speech.factories import ToneEngine, a_job
from tests.support.work.device import Bench

VOICE = Voice(name="tone", model="tone", engine="tone", languages=("en",), sample_rate_hz=16_000, revision="1")


def print_of(**changes: object) -> str:
    plain: dict[str, object] = {"text": "Hello.", "voice": VOICE, "loudness_lufs": None}
    speech = SpeechParams.pick(changes, voice="tone")
    others = {name: value for name, value in changes.items() if name in plain}
    return fingerprint(**{**plain, **others, "speech": speech})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Hello!"}, {"speed": 1.5}, {"seed": 1}, {"format": "ogg"}, {"sample_rate_hz": 8000},
        {"loudness_lufs": -16.0},
        {"voice": dataclasses.replace(VOICE, revision="2")}, {"voice": dataclasses.replace(VOICE, name="tone:b")},
    ],
)  # fmt: skip
def test_whatever_changes_the_audio_changes_the_fingerprint(change: dict[str, object]) -> None:
    assert print_of(**change) != print_of()
    assert print_of(speed=1, sample_rate_hz=16_000) == print_of()


def test_within_one_backlog_an_equal_text_is_spoken_once_and_all_are_settled(
    make: Callable[..., Bench], client: redis.Redis
) -> None:
    bench = make(ToneEngine(budget=60))
    same = {"fingerprint": print_of()}
    jobs = bench.submit(
        a_job("Hello.", **same), a_job("Hello.", owner="other", **same), a_job("Another."), a_job("Hello.")
    )
    bench.run()
    assert sorted(itertools.chain(*bench.engine.batches)) == ["Another.", "Hello.", "Hello."]
    first, second, _, apart = map(bench.now, jobs)
    assert [bench.now(job).state for job in jobs] == ["succeeded"] * 4
    assert second.audio_key == first.audio_key
    assert second.sha256 == first.sha256
    assert sorted([first.cached, second.cached]) == [False, True]
    assert apart.audio_key != first.audio_key
    assert not apart.cached
    took = [int(count) for name, count in client.hgetall(keys.OUTCOMES).items() if str(name).startswith("took:")]
    assert sum(took) == 3, "what was spoken took time, and the one that follows none"
    assert bench.nothing_is_left()
    assert client.ttl(keys.cache(print_of())) > 0


def test_a_later_equal_job_is_settled_when_it_is_submitted(make: Callable[..., Bench], client: redis.Redis) -> None:
    bench = make()
    (first,) = bench.submit(a_job("Hello.", fingerprint=print_of()))
    bench.run()
    job = a_job("Hello.", fingerprint=print_of())
    (shown,) = bench.store.submit([job])
    assert (shown.state, shown.cached, shown.audio_key) == ("succeeded", True, bench.now(first).audio_key)
    assert shown.settled_at is not None
    assert bench.nothing_is_left()
    assert [found.id for found in bench.store.list("acme", states=["succeeded"], limit=9).jobs] == [job.id, first.id]
    assert client.xlen(keys.EVENTS) == 2


def test_a_job_that_waited_while_an_equal_one_was_spoken_is_not_spoken(make: Callable[..., Bench]) -> None:
    bench, other = make(), make(name="other/cpu")
    jobs = bench.submit(a_job("Hello.", fingerprint=print_of()), a_job("Hello.", fingerprint=print_of()))
    (held,) = other.claims.claim(bench.backlog.lanes()[0].lane, 1)
    bench.run()
    other.claims.give_back([held])
    bench.run()
    assert [bench.now(job).state for job in jobs] == ["succeeded"] * 2
    assert bench.engine.batches == [["Hello."]]


def test_the_followers_of_a_canceled_job_keep_its_audio(make: Callable[..., Bench]) -> None:
    bench = make()
    first, second = bench.submit(a_job("Hello.", fingerprint=print_of()), a_job("Hello.", fingerprint=print_of()))

    def give_up(_: object) -> None:
        bench.store.cancel(first.id, "acme")

    bench.engine.on_batch = give_up
    bench.run()
    assert (bench.now(first).state, bench.now(second).state) == ("canceled", "succeeded")
    assert bench.discarded == []


def test_a_bad_text_fails_for_all_that_equal_it(make: Callable[..., Bench], client: redis.Redis) -> None:
    bench = make()
    jobs = bench.submit(a_job("poison", fingerprint=print_of()), a_job("poison", fingerprint=print_of()))
    bench.run()
    assert [(bench.now(job).state, bench.now(job).error_code) for job in jobs] == [("failed", "engine_failed")] * 2
    assert not client.exists(keys.cache(print_of()))


def test_over_http_a_repeat_is_there_at_once_unless_it_is_not_wanted(
    http: FlaskClient, make: Callable[..., Bench]
) -> None:
    bench = make()
    body = {"text": "Your claimed arrives on Tuesday."}
    first = http.post("/v1/jobs", json=body).get_json()
    bench.run()
    again = http.post("/v1/jobs", json=body).get_json()
    assert (again["state"], again["cached"], again["id"] == first["id"]) == ("succeeded", True, False)
    assert again["audio_url"]
    assert again["quality"] == http.get(f"/v1/jobs/{first['id']}").get_json()["quality"]
    assert http.get(f"/v1/jobs/{again['id']}/audio?inline=1").status_code == 200
    for other in ({"cache": False}, {"seed": 3}):
        assert http.post("/v1/jobs", json={**body, **other}).get_json()["state"] == "queued"
