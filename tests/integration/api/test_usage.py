"""What keys used, as `/v1/usage` tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from flask.testing import FlaskClient

from stentor.jobs.job import JobState
from stentor.owners.access import KeyStore, Limits
from stentor.owners.usage import UsageStore
from stentor.redis import keys
from tests.integration.api.test_jobs_api import refused
from tests.support.work.device import Bench

TODAY = datetime.now(UTC).date
MakeBench = Callable[..., Bench]


def state_of(http: FlaskClient, job_id: str) -> str:
    return str(http.get(f"/v1/jobs/{job_id}").get_json()["state"])


def test_a_spoken_job_adds_characters_audio_and_time_of_the_device(
    http: FlaskClient, client: redis.Redis, make: MakeBench
) -> None:
    (key,) = KeyStore(client).list()
    job = http.post("/v1/jobs", json={"text": "x" * 20}).get_json()
    (before,) = http.get("/v1/usage").get_json()["usage"]
    assert before == {
        "date": TODAY().isoformat(),
        "key_id": key.id,
        "key_name": "tests",
        "jobs": 0,
        "characters": 20,
        "audio_s": 0.0,
        "device_s": 0.0,
    }
    make().run()
    spoken = http.get(f"/v1/jobs/{job['id']}").get_json()
    (used,) = http.get("/v1/usage").get_json()["usage"]
    assert spoken["state"] == JobState.SUCCEEDED
    assert (used["jobs"], used["characters"]) == (1, 20)
    assert used["audio_s"] == pytest.approx(spoken["audio_s"], abs=0.001)
    assert used["audio_s"] > 1
    device_s = float(client.hget(keys.job(job["id"]), "device_s") or 0)
    assert device_s > 0
    assert used["device_s"] == pytest.approx(device_s, abs=0.001)


def test_a_cached_job_takes_no_time_of_a_device(http: FlaskClient, client: redis.Redis, make: MakeBench) -> None:
    bench = make()
    http.post("/v1/jobs", json={"text": "x" * 20})
    bench.run()
    (first,) = http.get("/v1/usage").get_json()["usage"]
    assert http.post("/v1/jobs", json={"text": "x" * 20}).get_json()["cached"] is True
    (second,) = http.get("/v1/usage").get_json()["usage"]
    assert (second["jobs"], second["characters"]) == (2, 40)
    assert second["audio_s"] == pytest.approx(2 * first["audio_s"], abs=0.002)
    assert second["device_s"] == first["device_s"]


def test_a_failed_job_costs_its_characters_only(http: FlaskClient, make: MakeBench) -> None:
    job = http.post("/v1/jobs", json={"text": "this is poison"}).get_json()
    make().run()
    assert state_of(http, job["id"]) == JobState.FAILED
    (used,) = http.get("/v1/usage").get_json()["usage"]
    assert used == {**used, "jobs": 0, "characters": 14, "audio_s": 0.0, "device_s": 0.0}


def test_usage_is_told_per_key_and_day_and_summed_up(http: FlaskClient, client: redis.Redis) -> None:
    store, usage = KeyStore(client), UsageStore(client)
    (first,) = store.list()
    second = store.find(store.create(owner="acme", name="second"))
    other = store.find(store.create(owner="other", name="theirs"))
    for key, chars in ((first, 5), (second, 7), (other, 100)):
        usage.add_characters(key.id, key.owner, chars, Limits(), bulk=f"blk_{key.id}")
    client.hset(
        keys.usage(first.id, int(time.time() // 86_400) - 1), mapping={"characters": 11, "jobs": 2, "audio_s": "3.5"}
    )
    store.revoke(second.id)
    answer = http.get("/v1/usage").get_json()
    yesterday = (TODAY() - timedelta(days=1)).isoformat()
    rows = [(row["date"], row["key_name"], row["characters"]) for row in answer["usage"]]
    assert rows[0] == (yesterday, "tests", 11)
    assert sorted(rows[1:]) == [(TODAY().isoformat(), "", 7), (TODAY().isoformat(), "tests", 5)]
    assert answer["totals"] == {"jobs": 2, "characters": 23, "audio_s": 3.5, "device_s": 0.0}
    (row,) = http.get(f"/v1/usage?since={yesterday}&until={yesterday}").get_json()["usage"]
    assert (row["characters"], row["jobs"]) == (11, 2)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=0", "since"),
        ("since=2026-02-30", "since"),
        ("until=", "until"),
        ("key=x", "key"),
    ],
)
def test_days_that_are_none_are_named(http: FlaskClient, query: str, field: str) -> None:
    problem = refused(http.get(f"/v1/usage?{query}"), 422, "field_invalid")
    assert problem["errors"][0]["field"] == field  # type: ignore[index]


@pytest.mark.parametrize(
    "query",
    ["until=0001-01-01", "since=9999-12-31", "since=9999-12-31&until=0001-01-01", "since=2020-01-01&until=2020-02-01"],
)
def test_of_days_long_ago_and_days_to_come_there_is_no_usage(http: FlaskClient, query: str) -> None:
    http.post("/v1/jobs", json={"text": "today"})
    assert http.get(f"/v1/usage?{query}").get_json()["usage"] == []
    assert len(http.get("/v1/usage?since=0001-01-01&until=9999-12-31").get_json()["usage"]) == 1
