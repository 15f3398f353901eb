"""`Idempotency-Key`: what is sent twice is done once."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask import Flask, request
from flask.testing import FlaskClient

from api.http import idempotency, idempotency_records, problems
from api.http.auth import authorize
from api.http.idempotency_records import IdempotencyStore
from api.services import Services
from stentor.errors import IdempotencyInFlight, RedisUnavailable
from stentor.owners.access import READ, KeyStore
from stentor.redis import keys
from stentor.redis.client import text_map
from stentor.settings import Settings
from tests.integration.api.test_jobs_api import TEXT, refused

ONCE = {"Idempotency-Key": "order-17"}


def jobs_there(client: redis.Redis) -> int:
    return int(client.zcard(keys.jobs("acme", keys.OPEN)))


def test_the_same_request_is_answered_with_what_was_answered_first(http: FlaskClient, client: redis.Redis) -> None:
    first = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE)
    again = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.get_data() == first.get_data()
    assert again.headers["Location"] == first.headers["Location"] == f"/v1/jobs/{first.get_json()['id']}"
    assert again.content_type == first.content_type
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert jobs_there(client) == 1
    assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", first.get_json()["id"])


def test_a_replay_tells_the_first_answer_and_not_how_things_are_now(http: FlaskClient) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json()
    http.delete(f"/v1/jobs/{job['id']}")
    assert http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json()["state"] == "queued"


def test_other_keys_and_other_owners_make_jobs_of_their_own(http: FlaskClient, client: redis.Redis) -> None:
    ids = {
        http.post("/v1/jobs", json={"text": TEXT}, headers={"Idempotency-Key": name}).get_json()["id"]
        for name in ("a", "b", "~" * 255)
    }
    http.environ_base["HTTP_AUTHORIZATION"] = "Bearer " + KeyStore(client).create(owner="other", name="theirs")
    ids.add(http.post("/v1/jobs", json={"text": TEXT}, headers={"Idempotency-Key": "a"}).get_json()["id"])
    assert len(ids) == 4


def test_two_keys_of_one_owner_share_what_they_have_sent(http: FlaskClient, client: redis.Redis) -> None:
    first = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json()
    http.environ_base["HTTP_AUTHORIZATION"] = "Bearer " + KeyStore(client).create(owner="acme", name="second")
    assert http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json() == first


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/jobs", {"text": "Another."}), ("/v1/jobs?x=1", {"text": TEXT}), ("/v1/devices/a/b/load", {"text": TEXT})],
)
def test_a_key_that_comes_with_another_request_is_refused(
    http: FlaskClient, client: redis.Redis, path: str, body: dict[str, str]
) -> None:
    http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE)
    refused(http.post(path, json=body, headers=ONCE), 422, "idempotency_key_reused")
    assert jobs_there(client) == 1


@pytest.mark.parametrize("name", ["", " ", "two words", "caf\u00e9", "x" * 256, "tab\tin"])
def test_a_key_that_is_none_is_named(http: FlaskClient, client: redis.Redis, name: str) -> None:
    problem = refused(
        http.post("/v1/jobs", json={"text": TEXT}, headers={"Idempotency-Key": name}), 422, "field_invalid"
    )
    assert problem["errors"][0]["field"] == "Idempotency-Key"  # type: ignore[index]
    assert jobs_there(client) == 0


def test_a_request_that_cannot_be_mended_by_trying_again_is_answered_the_same(http: FlaskClient) -> None:
    first = http.post("/v1/jobs", json={"text": ""}, headers=ONCE)
    again = http.post("/v1/jobs", json={"text": ""}, headers=ONCE)
    refused(again, 422, "text_empty")
    assert again.get_data() == first.get_data()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_refusal_that_passes_is_not_remembered(http: FlaskClient, client: redis.Redis) -> None:
    voices = text_map(client.hgetall(keys.VOICES))
    client.delete(keys.VOICES)
    refused(http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE), 503, "voices_unknown")
    for name, line in voices.items():
        client.hset(keys.VOICES, name, line)
    assert http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).status_code == 202


def test_a_request_that_may_not_be_sent_leaves_nothing_behind(http: FlaskClient, client: redis.Redis) -> None:
    all_scopes = http.environ_base["HTTP_AUTHORIZATION"]
    looker = KeyStore(client).create(owner="acme", name="looks", scopes=[READ])
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {looker}"
    refused(http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE), 403, "scope_missing")
    assert client.keys("stentor:idempotency:*") == []
    http.environ_base["HTTP_AUTHORIZATION"] = all_scopes
    assert http.post("/v1/jobs", json={"text": "Another."}, headers=ONCE).status_code == 202


def test_while_the_first_is_being_answered_a_second_is_told_to_wait(
    http: FlaskClient, settings: Settings, client: redis.Redis
) -> None:
    """The first is stopped in the middle by a voice directory that does not answer yet."""
    entered, go_on = threading.Event(), threading.Event()
    app = http.application
    voices = app.extensions["stentor"].voices
    known = voices.get

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(20)
        return known(*arguments)

    voices.get = slow
    answers: list[int] = []
    headers = {**ONCE, "Authorization": http.environ_base["HTTP_AUTHORIZATION"]}
    first = threading.Thread(
        target=lambda: answers.append(
            app.test_client().post("/v1/jobs", json={"text": TEXT}, headers=headers).status_code
        )
    )
    first.start()
    assert entered.wait(20)
    second = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE)
    go_on.set()
    first.join()
    problem = refused(second, 409, "idempotency_in_flight")
    assert problem["retryable"] is True
    assert second.headers["Retry-After"] == "1"
    assert answers == [202]
    assert http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).headers["Idempotent-Replayed"] == "true"
    assert jobs_there(client) == 1


def test_a_request_is_held_for_as_long_as_it_takes_and_a_dead_ones_lapses(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency_records, "RENEW_S", 0.05)
    records = IdempotencyStore(client, keep_s=60)
    begun = records.begin("acme", "name", "digest")
    held_until = float(client.hget(begun.key, "until") or 0)
    while float(client.hget(begun.key, "until") or 0) == held_until:
        threading.Event().wait(0.01)
    with pytest.raises(IdempotencyInFlight):
        IdempotencyStore(client, keep_s=60).begin("acme", "name", "digest")
    # What a process that died would leave:
    records.end(begun, None)
    client.hset(begun.key, mapping={"holder": "dead", "until": 1.0})
    assert records.begin("acme", "name", "digest").base == begun.base


@pytest.mark.parametrize("lost", ["answer", "record"])
def test_after_a_crash_in_the_middle_another_try_finds_the_jobs_that_were_made(
    http: FlaskClient, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The jobs are in Redis, and the process dies before the answer is remembered; or it says 503, not knowing."""
    body = {"jobs": [{"text": f"text {number}"} for number in range(20)]}
    services = http.application.extensions["stentor"]
    if lost == "record":
        monkeypatch.setattr(services.idempotency, "end", lambda *_: None)
        first = http.post("/v1/jobs", json=body, headers=ONCE)
        made = [job["id"] for job in first.get_json()["jobs"]]
        (key,) = client.keys("stentor:idempotency:*")
        client.hset(str(key), "until", 1.0)  # the lease of a dead process
    else:
        submit = services.jobs.submit

        def submit_and_lose(jobs: Any, **rest: Any) -> Any:
            submit(jobs, **rest)
            raise RedisUnavailable("the answer was lost on its way")

        monkeypatch.setattr(services.jobs, "submit", submit_and_lose)
        refused(http.post("/v1/jobs", json=body, headers=ONCE), 503, "redis_unavailable")
        made = sorted(str(found) for found in client.zrange(keys.jobs("acme", keys.OPEN), 0, -1))
    monkeypatch.undo()
    again = http.post("/v1/jobs", json=body, headers=ONCE)
    assert sorted(job["id"] for job in again.get_json()["jobs"]) == sorted(made)
    assert jobs_there(client) == 20
    (usage,) = client.keys("stentor:usage:*:*")
    assert client.hget(str(usage), "characters") == str(sum(len(job["text"]) for job in body["jobs"]))


def test_jobs_that_have_moved_on_since_a_crash_are_told_as_they_are(http: FlaskClient, client: redis.Redis) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json()
    http.delete(f"/v1/jobs/{job['id']}")
    (key,) = client.keys("stentor:idempotency:*")
    client.hdel(str(key), "status", "content_type", "location", "body")
    again = http.post("/v1/jobs", json={"text": TEXT}, headers=ONCE).get_json()
    assert (again["id"], again["state"], again["created_at"]) == (job["id"], "canceled", job["created_at"])


def test_a_long_answer_is_kept_small(http: FlaskClient, client: redis.Redis) -> None:
    body = {"jobs": [{"text": f"text {number}"} for number in range(1000)]}
    first = http.post("/v1/jobs", json=body, headers=ONCE)
    assert http.post("/v1/jobs", json=body, headers=ONCE).get_data() == first.get_data()
    (key,) = client.keys("stentor:idempotency:*")
    assert len(first.get_data()) > 400_000
    assert client.hstrlen(str(key), "body") < 100_000
    assert 86_000 < client.ttl(str(key)) <= 86_400


@pytest.fixture
def small(settings: Settings, api_key: str) -> Iterator[FlaskClient]:
    """A client of an app without endpoints, which tests add."""
    app = Flask("small")
    app.extensions["stentor"] = Services.connect(settings, threads=8)
    problems.install(app)
    app.before_request(authorize())
    with app.test_client() as made:
        made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
        yield made
    app.extensions["stentor"].client.close()


def a_form(boundary: str, content: bytes, name: str = "n") -> dict[str, Any]:
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.gz"\r\n\r\n'.encode(),
        content,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return {"data": b"".join(lines), "content_type": f"multipart/form-data; boundary={boundary}", "headers": ONCE}


def test_a_form_is_the_same_however_it_is_parted(small: FlaskClient) -> None:
    ids: list[str] = []

    @small.application.post("/v1/forms")
    def take() -> dict[str, Any]:
        ids.append(idempotency.new_id("form"))
        return {"id": ids[-1], "name": request.form["name"], "bytes": len(request.files["file"].stream.read())}

    idempotency.install(small.application)
    content = random.Random(7).randbytes(3_000_000)
    first = small.post("/v1/forms", **a_form("aaa", content))
    assert first.get_json() == {"id": ids[0], "name": "n", "bytes": 3_000_000}
    again = small.post("/v1/forms", **a_form("bbbbbb", content))
    assert (again.get_json(), again.headers["Idempotent-Replayed"]) == (first.get_json(), "true")
    refused(small.post("/v1/forms", **a_form("aaa", content[:-1] + b"x")), 422, "idempotency_key_reused")
    refused(small.post("/v1/forms", **a_form("aaa", content, name="m")), 422, "idempotency_key_reused")
    assert len(ids) == 1


def test_an_endpoint_may_repeat_itself_instead_of_having_its_answers_kept(
    small: FlaskClient, client: redis.Redis
) -> None:
    @small.application.post("/v1/sounds")
    @idempotency.replays_by_repeating
    def sound() -> bytes:
        return idempotency.new_id("job").encode()

    idempotency.install(small.application)
    first, again = (small.post("/v1/sounds", data=b"x", headers=ONCE) for _ in range(2))
    assert first.get_data() == again.get_data()
    assert again.headers["Idempotent-Replayed"] == "true"
    refused(small.post("/v1/sounds", data=b"y", headers=ONCE), 422, "idempotency_key_reused")
    assert small.post("/v1/sounds", data=b"x").get_data() != first.get_data()
