"""Keys: what each may, and until when."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from api.http.key_memory import KEY_TTL_S
from stentor.cli.commands.keys import keys as keys_command
from stentor.owners.access import ADMIN, READ, SUBMIT, VOICES, KeyStore, Limits
from stentor.owners.usage import UsageStore
from stentor.redis import keys
from tests.integration.api.test_jobs_api import TEXT, refused
from tests.support.servers.neighbours import RunningNeighbours
from tests.support.stacks.stack import eventually


def acts_with(http: FlaskClient, client: redis.Redis, *scopes: str, owner: str = "acme") -> None:
    """Let the client send a key of these scopes from now on."""
    secret = KeyStore(client).create(owner=owner, name="scoped", scopes=scopes)
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        ((READ,), "GET", "/v1/jobs", 200),
        ((READ,), "POST", "/v1/jobs", 403),
        ((SUBMIT,), "POST", "/v1/jobs", 202),
        ((SUBMIT,), "GET", "/v1/jobs", 403),
        ((READ, VOICES, ADMIN), "DELETE", "/v1/jobs/job_x", 403),
        ((SUBMIT,), "DELETE", "/v1/jobs/job_x", 404),
        ((READ,), "GET", "/v1/voices", 200),
        ((READ,), "GET", "/v1/devices", 200),
        ((SUBMIT, READ, VOICES), "POST", "/v1/devices/testhost/cpu/unload", 403),
        ((ADMIN,), "POST", "/v1/devices/testhost/cpu/unload", 404),
        ((), "GET", "/v1/jobs", 403),
    ],
)
def test_a_key_does_what_its_scopes_say_and_no_more(
    http: FlaskClient, client: redis.Redis, scopes: tuple[str, ...], method: str, path: str, status: int
) -> None:
    acts_with(http, client, *scopes)
    body = {"text": TEXT} if (method, path) == ("POST", "/v1/jobs") else None
    response = http.open(path, method=method, json=body)
    assert response.status_code == status
    if status == 403:
        problem = refused(response, 403, "scope_missing")
        assert problem["retryable"] is False
        assert f"{method} {path}" in str(problem["detail"])


def test_a_scope_is_asked_for_before_the_body_is_read(http: FlaskClient, client: redis.Redis) -> None:
    acts_with(http, client, READ)
    refused(http.post("/v1/jobs", data=b"no json at all", content_type="text/plain"), 403, "scope_missing")


def test_a_key_ends_on_time_and_not_a_second_later(http: FlaskClient, client: redis.Redis) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    secret = KeyStore(client).create(owner="acme", name="short", expires_at=soon.isoformat())
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    # It is believed for a second after it was looked up, but its end is looked at every time.
    while datetime.now(UTC) < soon:
        status = http.get("/v1/jobs").status_code
        assert status == 200 or datetime.now(UTC) >= soon
    problem = refused(http.get("/v1/jobs"), 401, "key_expired")
    assert problem["detail"] == f"The API key expired at {soon.isoformat()}. Use another key."


def test_a_revoked_key_that_was_just_used_is_refused_within_a_second(http: FlaskClient, client: redis.Redis) -> None:
    assert http.get("/v1/jobs").status_code == 200
    store = KeyStore(client)
    assert store.revoke(store.list()[0].id)
    revoked_at = time.monotonic()
    eventually(lambda: http.get("/v1/jobs").status_code == 401, 10)
    assert time.monotonic() - revoked_at < KEY_TTL_S + 4
    refused(http.get("/v1/jobs"), 401, "key_invalid")


def test_a_record_from_before_there_were_scopes_may_do_everything(http: FlaskClient, client: redis.Redis) -> None:
    old = {"owner": "acme", "name": "old", "created_at": "2026-11-01T00:00:00+00:00"}
    client.hset(keys.API_KEYS, hashlib.sha256(b"stk_old").hexdigest(), json.dumps(old))
    http.environ_base["HTTP_AUTHORIZATION"] = "Bearer stk_old"
    assert http.post("/v1/jobs", json={"text": TEXT}).status_code == 202
    refused(http.post("/v1/devices/testhost/cpu/load"), 404, "device_not_found")


def test_looking_a_key_up_is_no_round_trip_of_every_request(http: FlaskClient, client: redis.Redis) -> None:
    http.get("/v1/jobs")
    client.config_resetstat()
    for _ in range(5):
        http.get("/v1/jobs")
    lookups = client.info("commandstats").get("cmdstat_hget", {"calls": 0})["calls"]
    assert lookups <= 2  # one more if a second went by


# --- the command line


@pytest.fixture
def cli(near: RunningNeighbours, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in near.environ.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(keys_command, words)


def test_a_new_key_can_do_what_clients_do_and_order_no_devices_about(
    cli: Callable[..., Result], client: redis.Redis
) -> None:
    secret = cli("create", "--owner", "shop").stdout.strip()
    key = KeyStore(client).find(secret)
    assert (key.owner, key.scopes, key.expires_at, key.limits) == ("shop", (SUBMIT, READ, VOICES), None, Limits())


def test_a_key_has_what_was_asked_for(cli: Callable[..., Result], client: redis.Redis) -> None:
    words = ["create", "--owner=shop", "--name=all", "--scope=admin", "--scope=read", "--expires=30d"]
    words += ["--rate=600/minute", "--daily-chars=1000", "--max-waiting=50", "--json"]
    told = json.loads(cli(*words).stdout)
    key = KeyStore(client).find(told["key"])
    assert told["id"] == key.id
    assert key.scopes == (READ, ADMIN)
    assert key.limits == Limits(rate="600/minute", daily_chars=1000, waiting_jobs=50)
    left = datetime.fromisoformat(str(key.expires_at)) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    (listed,) = json.loads(cli("list", "--json").stdout)["keys"]
    assert (listed["scopes"], listed["limits"]["rate"], listed["expired"]) == (["read", "admin"], "600/minute", False)
    assert "600/minute, 1000 characters/day, 50 waiting" in cli("list").stdout
    assert told["key"] not in cli("list").stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--scope=all", "is not one of"),
        (
            "--expires=yesterday",
            "Not a time: 'yesterday'. Use a duration such as 12h or 30d, or a date such as 2026-12-31.",
        ),
        ("--expires=2020-01-01", "2020-01-01 is in the past. Use a time in the future."),
        ("--expires=2026-02-30", "Not a time"),
        ("--rate=600", "Not a rate: '600'"),
        ("--rate=0/minute", "Not a rate"),
        ("--daily-chars=0", "is not in the range"),
        ("--max-waiting=-1", "is not in the range"),
    ],
)
def test_what_a_key_cannot_have_is_said(cli: Callable[..., Result], client: redis.Redis, word: str, said: str) -> None:
    done = cli("create", "--owner=shop", word)
    assert done.exit_code == 2
    assert said in done.stderr
    assert KeyStore(client).list() == []


def test_usage_is_shown_per_owner_and_day(cli: Callable[..., Result], client: redis.Redis) -> None:
    store, used = KeyStore(client), UsageStore(client)
    for owner, chars in (("shop", 5), ("school", 7)):
        key = store.find(store.create(owner=owner, name=f"{owner}'s"))
        used.add_characters(key.id, owner, chars, Limits(), bulk=f"blk_{owner}")
    told = json.loads(cli("usage", "--json").stdout)["usage"]
    assert [(row["owner"], row["key_name"], row["characters"]) for row in told] == [
        ("school", "school's", 7),
        ("shop", "shop's", 5),
    ]
    assert [
        row["owner"] for row in json.loads(cli("usage", "--owner=shop", "--since=7d", "--json").stdout)["usage"]
    ] == ["shop"]
    assert len(cli("usage", "--since", datetime.now(UTC).date().isoformat()).stdout.splitlines()) == 3
    assert cli("usage", "--since=soon").exit_code == 2
