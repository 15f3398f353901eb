"""How much a key may: requests, characters in a day, jobs that wait."""

from __future__ import annotations

import re
import time

import pytest
import redis
from flask.testing import FlaskClient

from api.app import create_app
from stentor.errors import DailyCharsExceeded
from stentor.owners.access import KeyStore, Limits
from stentor.owners.usage import UsageStore
from stentor.redis import keys
from stentor.settings import Settings
from tests.conftest import register_voice
from tests.integration.api.test_jobs_api import TEXT, refused


def limited(http: FlaskClient, client: redis.Redis, limits: Limits, owner: str = "acme") -> str:
    """Let the client send a key with these limits from now on; its id."""
    store = KeyStore(client)
    secret = store.create(owner=owner, name="limited", limits=limits)
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return store.find(secret).id


def commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


# --- requests


def test_a_rate_is_told_with_every_answer_and_kept(http: FlaskClient, client: redis.Redis) -> None:
    limited(http, client, Limits(rate="3/hour"))
    for left in (2, 1, 0):
        response = http.get("/v1/jobs")
        assert response.status_code == 200
        assert response.headers["RateLimit-Policy"] == '"key";q=3;w=3600'
        told = re.fullmatch(r'"key";r=(\d+);t=(\d+)', response.headers["RateLimit"])
        assert told is not None
        assert int(told[1]) == left
        assert 1 <= int(told[2]) <= 3600
    response = http.post("/v1/jobs", json={"text": TEXT})
    problem = refused(response, 429, "rate_exceeded")
    assert problem["retryable"] is True
    retry_s = int(response.headers["Retry-After"])
    assert problem["detail"] == f"The key has reached its limit of 3 requests per hour. Retry in {retry_s} s."
    assert 1 <= retry_s <= 3600
    assert response.headers["RateLimit"].startswith('"key";r=0;t=')
    assert client.zcard(keys.jobs("acme", keys.OPEN)) == 0


def test_what_was_refused_does_not_count(http: FlaskClient, client: redis.Redis) -> None:
    limited(http, client, Limits(rate="2/second"))
    deadline = time.monotonic() + 20
    taken = refused_in_between = 0
    while taken < 6:
        # Asking without a pause would never be heard again if refusals counted.
        status = http.get("/v1/jobs").status_code
        taken, refused_in_between = taken + (status == 200), refused_in_between + (status == 429)
        assert time.monotonic() < deadline
    assert refused_in_between > 0


def test_each_key_has_a_rate_of_its_own(http: FlaskClient, client: redis.Redis) -> None:
    for _ in range(2):
        limited(http, client, Limits(rate="1/hour"))
        assert http.get("/v1/jobs").status_code == 200
        assert http.get("/v1/devices").status_code == 429


def test_a_key_without_a_rate_is_told_none_and_asks_redis_nothing_more(http: FlaskClient, client: redis.Redis) -> None:
    http.get("/v1/jobs")
    before = commands(client)
    response = http.get("/v1/jobs")
    plain = commands(client) - before
    assert "RateLimit" not in response.headers
    assert "RateLimit-Policy" not in response.headers
    limited(http, client, Limits(rate="100/minute"))
    http.get("/v1/jobs")
    before = commands(client)
    http.get("/v1/jobs")
    assert commands(client) - before > plain


def test_the_services_rate_holds_for_keys_that_have_none_of_their_own(
    client: redis.Redis, settings: Settings, api_key: str
) -> None:
    app = create_app(settings.model_copy(update={"rate_limit": "1/hour"}))
    own = KeyStore(client).create(owner="acme", name="own", limits=Limits(rate="2/hour"))
    seen = {
        name: [
            app.test_client().get("/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code
            for _ in range(3)
        ]
        for name, secret in (("services", api_key), ("own", own))
    }
    assert seen == {"services": [200, 429, 429], "own": [200, 200, 429]}


def test_counts_lie_under_one_prefix_and_expire(http: FlaskClient, client: redis.Redis) -> None:
    before = set(client.keys("*"))
    limited(http, client, Limits(rate="1000000/day"))
    for _ in range(5):
        http.get("/v1/jobs")
    (counts,) = set(client.keys("*")) - before - {keys.API_KEYS}
    assert str(counts).startswith("stentor:limits:")
    assert client.type(str(counts)) == "string"
    assert 0 < client.ttl(str(counts)) <= 2 * 86_400


def test_without_redis_a_limited_key_is_told_to_come_again(settings: Settings, client: redis.Redis) -> None:
    app = create_app(settings)
    secret = KeyStore(client).create(owner="acme", name="limited", limits=Limits(rate="100/minute"))
    headers = {"Authorization": f"Bearer {secret}"}
    assert app.test_client().get("/v1/jobs", headers=headers).status_code == 200
    pool = app.extensions["stentor"].client.connection_pool
    pool.reset()
    pool.connection_kwargs["port"] = 1
    response = app.test_client().get("/v1/jobs", headers=headers)
    refused(response, 503, "redis_unavailable")
    assert response.headers["Retry-After"] == "5"


# --- characters


def test_a_day_has_so_many_characters(http: FlaskClient, client: redis.Redis) -> None:
    key_id = limited(http, client, Limits(daily_chars=100))
    assert http.post("/v1/jobs", json={"text": "x" * 60}).status_code == 202
    response = http.post("/v1/jobs", json={"jobs": [{"text": "y" * 30}, {"text": "z" * 30}]})
    problem = refused(response, 429, "daily_chars_exceeded")
    assert problem["detail"] == (
        "The API key has submitted 60 of its 100 characters for today; 60 more are too many. Try again tomorrow (UTC)."
    )
    until_midnight_s = 86_400 - time.time() % 86_400
    assert abs(int(response.headers["Retry-After"]) - until_midnight_s) < 30
    # What was refused does not count, and what still fits is taken.
    assert http.post("/v1/jobs", json={"text": "w" * 40}).status_code == 202
    refused(http.post("/v1/jobs", json={"text": "v"}), 429, "daily_chars_exceeded")
    assert client.hget(keys.usage(key_id, int(time.time() // 86_400)), "characters") == "100"
    assert http.get("/v1/jobs").status_code == 200


def test_characters_of_bulks_and_of_jobs_are_counted_together(http: FlaskClient, client: redis.Redis) -> None:
    limits = Limits(daily_chars=100)
    key_id = limited(http, client, limits)
    usage = UsageStore(client)
    usage.add_characters(key_id, "acme", 70, limits, bulk="blk_1")
    refused(http.post("/v1/jobs", json={"text": "x" * 31}), 429, "daily_chars_exceeded")
    assert http.post("/v1/jobs", json={"text": "x" * 30}).status_code == 202
    with pytest.raises(DailyCharsExceeded, match="submitted 100 of its 100 characters for today; 1 more"):
        usage.add_characters(key_id, "acme", 1, limits, bulk="blk_2")
    usage.add_characters(key_id, "acme", 1_000_000, Limits(), bulk="blk_3")


# --- jobs that wait


def test_so_many_jobs_of_a_key_may_wait(http: FlaskClient, client: redis.Redis) -> None:
    limited(http, client, Limits(waiting_jobs=2))
    ids = [job["id"] for job in http.post("/v1/jobs", json={"jobs": [{"text": TEXT}] * 2}).get_json()["jobs"]]
    response = http.post("/v1/jobs", json={"text": TEXT})
    problem = refused(response, 429, "too_many_waiting")
    assert problem["detail"] == "2 jobs of the key wait, and 2 may; 1 more are too many"
    assert response.headers["Retry-After"] == "5"
    http.delete(f"/v1/jobs/{ids[0]}")
    assert http.post("/v1/jobs", json={"text": TEXT}).status_code == 202


def test_the_services_limits_hold_for_keys_that_have_none_of_their_own(
    client: redis.Redis, settings: Settings, api_key: str
) -> None:
    register_voice(client)
    sender = create_app(settings.model_copy(update={"daily_chars": 40, "max_waiting_jobs": 1})).test_client()
    sender.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
    assert sender.post("/v1/jobs", json={"text": TEXT}).status_code == 202
    refused(sender.post("/v1/jobs", json={"text": "short"}), 429, "too_many_waiting")
    refused(sender.post("/v1/jobs", json={"text": TEXT}), 429, "daily_chars_exceeded")
    limited(sender, client, Limits(daily_chars=1000, waiting_jobs=5))
    assert sender.post("/v1/jobs", json={"text": TEXT}).status_code == 202
    assert sender.post("/v1/jobs", json={"text": TEXT}).status_code == 202
