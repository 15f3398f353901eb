"""`/v1/webhooks`: endpoints, secrets and deliveries over HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from standardwebhooks import Webhook

from api.app import create_app
from stentor.owners.access import READ, SUBMIT, KeyStore
from stentor.redis import keys
from stentor.redis.record import to_items
from stentor.settings import Settings
from stentor.webhooks.store import WebhookStore
from stentor.webhooks.webhook import DEFAULT_EVENTS, MAX_ENDPOINTS, Delivery, Endpoint
from tests.conftest import register_voice
from tests.integration.api.test_jobs_api import TEXT, refused
from tests.support.servers.receivers import LOOPBACK, Handler, Received, receiver
from tests.support.stacks.stack import eventually
from worker.webhooks.dispatcher import WebhookDispatcher

URL = "https://hooks.example.com/stentor"


@pytest.fixture
def near_settings(settings: Settings) -> Settings:
    """Settings that allow receivers on this machine."""
    return settings.model_copy(update={"webhook_allow": LOOPBACK, "webhook_timeout_s": 2.0})


@pytest.fixture
def web(client: redis.Redis, near_settings: Settings, api_key: str) -> Iterator[FlaskClient]:
    """A client of an API that allows receivers on this machine."""
    register_voice(client)
    app = create_app(near_settings)
    app.testing = True
    with app.test_client() as made:
        made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_key}"
        yield made


@pytest.fixture
def courier(client: redis.Redis, near_settings: Settings) -> Iterator[WebhookDispatcher]:
    """A courier at work."""
    made = WebhookDispatcher(near_settings)
    made.start()
    yield made
    made.stop()


def add(http: FlaskClient, url: str = URL, **fields: Any) -> dict[str, Any]:
    response = http.post("/v1/webhooks", json={"url": url, **fields})
    assert response.status_code == 201, response.get_json()
    made: dict[str, Any] = response.get_json()
    return made


def acts_for(http: FlaskClient, client: redis.Redis, owner: str, *scopes: str) -> None:
    secret = KeyStore(client).create(owner=owner, name="other", scopes=scopes or (READ, SUBMIT))
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"


def canceled_job(http: FlaskClient, **fields: Any) -> str:
    """The shortest way to an outcome where nobody speaks."""
    job_id: str = http.post("/v1/jobs", json={"text": TEXT, **fields}).get_json()["id"]
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 200
    return job_id


def deliveries(http: FlaskClient, webhook_id: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/v1/webhooks/{webhook_id}/deliveries", query_string=query).get_json()[
        "deliveries"
    ]
    return found


def states(http: FlaskClient, webhook_id: str) -> list[str]:
    return [one["state"] for one in deliveries(http, webhook_id)]


# --- endpoints


def test_an_endpoint_is_shown_with_its_secret_once(http: FlaskClient) -> None:
    made = add(http, description="orders")
    assert made["secret"].startswith("whsec_")
    assert made["events"] == list(DEFAULT_EVENTS) == ["job.succeeded", "job.failed", "job.canceled", "bulk.completed"]
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert http.get(f"/v1/webhooks/{made['id']}").get_json() == shown
    assert http.get("/v1/webhooks").get_json() == {"webhooks": [shown], "next_cursor": None}


def test_an_endpoint_can_be_changed_disabled_and_enabled(http: FlaskClient) -> None:
    path = f"/v1/webhooks/{add(http)['id']}"
    changed = http.patch(path, json={"url": f"{URL}/2", "events": ["bulk.progress"], "description": "bulks"}).get_json()
    assert (changed["url"], changed["events"], changed["description"]) == (f"{URL}/2", ["bulk.progress"], "bulks")
    assert http.patch(path, json={"disabled": True}).get_json()["disabled"] is True
    assert http.get(path).get_json() == {**changed, "disabled": True}
    assert http.patch(path, json={"disabled": False}).get_json() == changed


def test_a_deleted_endpoint_is_gone(http: FlaskClient, client: redis.Redis) -> None:
    path = f"/v1/webhooks/{add(http)['id']}"
    assert http.delete(path).status_code == 204
    refused(http.get(path), 404, "webhook_not_found")
    refused(http.delete(path), 404, "webhook_not_found")
    assert client.keys("stentor:endpoint*") == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1/", "url_refused"),
        ("http://169.254.169.254/latest/meta-data/", "url_refused"),
        ("http://[::ffff:10.0.0.1]/", "url_refused"),
        ("http://2130706433/", "url_refused"),
        ("ftp://hooks.example.com/", "url_invalid"),
        ("https://me:secret@hooks.example.com/", "url_invalid"),
    ],
)
def test_urls_that_lead_inside_are_refused_wherever_they_are_given(http: FlaskClient, url: str, code: str) -> None:
    path = f"/v1/webhooks/{add(http)['id']}"
    problem = refused(http.post("/v1/webhooks", json={"url": url}), 422, code)
    assert problem["errors"][0]["field"] == "url"  # type: ignore[index]
    refused(http.patch(path, json={"url": url}), 422, code)
    body = {"jobs": [{"text": TEXT}, {"text": TEXT, "webhook_url": url}]}
    problem = refused(http.post("/v1/jobs", json=body), 422, code)
    assert problem["errors"][0]["field"] == "jobs.1.webhook_url"  # type: ignore[index]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 7},
        {"url": URL, "events": []},
        {"url": URL, "events": ["webhook.ping"]},
        {"url": URL, "events": ["job.queued"]},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
def test_wrong_fields_are_named(http: FlaskClient, body: dict[str, Any]) -> None:
    refused(http.post("/v1/webhooks", json=body), 422, "field_invalid")


def test_there_is_an_end_to_the_endpoints_of_an_owner(http: FlaskClient) -> None:
    for _ in range(MAX_ENDPOINTS):
        add(http)
    problem = refused(http.post("/v1/webhooks", json={"url": URL}), 409, "too_many_webhooks")
    assert "20 webhook endpoints" in str(problem["detail"])


def test_a_repeated_request_with_an_idempotency_key_adds_one_endpoint(http: FlaskClient) -> None:
    answers = [
        http.post("/v1/webhooks", json={"url": URL}, headers={"Idempotency-Key": "once"}).get_json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(http.get("/v1/webhooks").get_json()["webhooks"]) == 1


def test_an_endpoint_is_invisible_to_other_owners(
    web: FlaskClient, client: redis.Redis, courier: WebhookDispatcher
) -> None:
    with receiver() as there:
        webhook_id = add(web, there.url)["id"]
        delivery_id = web.post(f"/v1/webhooks/{webhook_id}/ping").get_json()["delivery_id"]
        eventually(lambda: states(web, webhook_id) == ["succeeded"])
        acts_for(web, client, "globex")
        path = f"/v1/webhooks/{webhook_id}"
        one = f"{path}/deliveries/{delivery_id}"
        assert web.get("/v1/webhooks").get_json()["webhooks"] == []
        for response in (
            web.get(path),
            web.patch(path, json={"disabled": True}),
            web.delete(path),
            web.post(f"{path}/rotate"),
            web.post(f"{path}/ping"),
            web.get(f"{path}/deliveries"),
            web.get(one),
            web.post(f"{one}/replay"),
            web.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}),
        ):
            refused(response, 404, "webhook_not_found")
        canceled_job(web)
        assert client.xlen(keys.OUTBOX) == 0


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/webhooks", SUBMIT),
        ("GET", "/v1/webhooks", READ),
        ("PATCH", "/v1/webhooks/whe_unknown", SUBMIT),
        ("DELETE", "/v1/webhooks/whe_unknown", SUBMIT),
        ("GET", "/v1/webhooks/secret", SUBMIT),
        ("POST", "/v1/webhooks/secret/rotate", SUBMIT),
    ],
)
def test_changing_and_seeing_secrets_takes_another_scope_than_looking(
    http: FlaskClient, client: redis.Redis, method: str, path: str, scope: str
) -> None:
    acts_for(http, client, "acme", READ if scope == SUBMIT else SUBMIT)
    problem = refused(http.open(path, method=method, json={} if method != "GET" else None), 403, "scope_missing")
    assert f"needs the scope {scope!r}" in str(problem["detail"])


# --- what arrives


def test_outcomes_arrive_at_who_hears_of_them(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver() as hears, receiver() as other:
        secret = add(web, hears.url)["secret"]
        add(web, other.url, events=["bulk.completed"])
        job_id = canceled_job(web, metadata={"order": "17"})
        eventually(lambda: hears.received)
        told = Webhook(secret).verify(hears.received[0].body, hears.received[0].headers)
    assert told["type"] == "job.canceled"
    assert (told["data"]["id"], told["data"]["metadata"]) == (job_id, {"order": "17"})
    assert other.received == []


def test_the_address_of_a_job_is_told_and_signed_with_the_owners_secret(
    web: FlaskClient, courier: WebhookDispatcher
) -> None:
    with receiver() as there:
        secret = web.get("/v1/webhooks/secret").get_json()["secret"]
        job_id = canceled_job(web, webhook_url=there.url)
        assert web.get(f"/v1/jobs/{job_id}").get_json()["webhook_url"] == there.url
        eventually(lambda: there.received)
        told = Webhook(secret).verify(there.received[0].body, there.received[0].headers)
        assert told["data"]["id"] == job_id
        (implicit,) = web.get("/v1/webhooks").get_json()["webhooks"]
        assert (implicit["implicit"], implicit["events"]) == (True, [])
        assert there.url.startswith(implicit["url"])
        (delivery,) = eventually(lambda: deliveries(web, implicit["id"], state="succeeded"))
        assert delivery["url"] == there.url
        assert [attempt["status"] for attempt in delivery["attempts"]] == [200]
        refused(web.delete(f"/v1/webhooks/{implicit['id']}"), 404, "webhook_not_found")


def test_the_secret_of_an_owner_is_made_when_it_is_first_needed(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver() as there:
        canceled_job(web, webhook_url=there.url)
        eventually(lambda: there.received)
        secret = web.get("/v1/webhooks/secret").get_json()["secret"]
        Webhook(secret).verify(there.received[0].body, there.received[0].headers)


def test_while_a_secret_is_rotated_both_verify(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver() as there:
        made = add(web, there.url)
        new = web.post(f"/v1/webhooks/{made['id']}/rotate").get_json()["secret"]
        old_default = web.get("/v1/webhooks/secret").get_json()["secret"]
        new_default = web.post("/v1/webhooks/secret/rotate").get_json()["secret"]
        assert len({made["secret"], new, old_default, new_default}) == 4
        canceled_job(web, webhook_url=f"{there.url}/own")
        eventually(lambda: len(there.received) == 2)
        by_path = {one.path: one for one in there.received}
    for path, secrets in (("/hook", (made["secret"], new)), ("/hook/own", (old_default, new_default))):
        for secret in secrets:
            Webhook(secret).verify(by_path[path].body, by_path[path].headers)


def test_of_rotations_at_the_same_time_each_follows_another(client: redis.Redis) -> None:
    store = WebhookStore(client, keep_s=3600)
    with ThreadPoolExecutor(4) as threads:
        rotated = list(threads.map(lambda _: store.rotate_signing("acme"), range(40)))
    assert len({signing.old_secret for signing in rotated}) == 40


def test_a_ping_arrives_and_its_delivery_can_be_looked_at(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver() as there:
        made = add(web, there.url, events=["bulk.completed"])
        response = web.post(f"/v1/webhooks/{made['id']}/ping")
        assert response.status_code == 202
        path = f"/v1/webhooks/{made['id']}/deliveries/{response.get_json()['delivery_id']}"
        eventually(lambda: web.get(path).status_code == 200 and web.get(path).get_json()["state"] == "succeeded")
        delivery = web.get(path).get_json()
        (came,) = there.received
    assert (delivery["type"], delivery["payload"]) == ("webhook.ping", came.body.decode())
    assert delivery["event_id"] == came.id
    refused(web.get(f"/v1/webhooks/{made['id']}/deliveries/whd_none"), 404, "delivery_not_found")


def test_410_disables_and_what_comes_then_is_skipped_until_it_is_replayed(
    web: FlaskClient, courier: WebhookDispatcher
) -> None:
    gone = True

    def how(handler: Handler, request: Received) -> None:
        handler.answer(410 if gone else 200)

    with receiver(how) as there:
        webhook_id = add(web, there.url)["id"]
        path = f"/v1/webhooks/{webhook_id}"
        canceled_job(web)
        eventually(lambda: states(web, webhook_id) == ["failed"])
        shown = web.get(path).get_json()
        assert (shown["disabled"], shown["disabled_reason"]) == (True, "it answered 410")
        canceled_job(web)
        eventually(lambda: states(web, webhook_id) == ["skipped", "failed"])
        assert len(there.received) == 1
        refused(web.post(f"{path}/ping"), 409, "webhook_disabled")
        refused(web.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}), 409, "webhook_disabled")
        gone = False
        enabled = web.patch(path, json={"disabled": False}).get_json()
        assert (enabled["disabled"], enabled["disabled_reason"]) == (False, None)
        response = web.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z", "state": "skipped"})
        assert (response.status_code, response.get_json()) == (202, {"replayed": 1})
        eventually(lambda: states(web, webhook_id) == ["succeeded", "failed"])


def test_410_from_the_address_of_a_job_drops_that_delivery_only(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver(lambda handler, _: handler.answer(410)) as there:
        for _ in range(2):
            canceled_job(web, webhook_url=there.url)
        eventually(lambda: len(there.received) == 2)
        (implicit,) = web.get("/v1/webhooks").get_json()["webhooks"]
        eventually(lambda: states(web, implicit["id"]) == ["failed", "failed"])
        assert implicit["disabled"] is False


def test_deliveries_are_replayed_one_or_all_since_with_the_same_ids(
    web: FlaskClient, courier: WebhookDispatcher
) -> None:
    with receiver() as there:
        webhook_id = add(web, there.url)["id"]
        path = f"/v1/webhooks/{webhook_id}"
        canceled_job(web)
        eventually(lambda: states(web, webhook_id) == ["succeeded"])
        between = datetime.now(UTC).isoformat()
        later = {canceled_job(web) for _ in range(3)}
        eventually(lambda: states(web, webhook_id) == ["succeeded"] * 4)
        (first,) = [one for one in deliveries(web, webhook_id) if json.loads(one["payload"])["data"]["id"] not in later]

        response = web.post(f"{path}/deliveries/{first['id']}/replay")
        assert (response.status_code, response.get_json()["state"]) == (202, "pending")
        eventually(lambda: len(there.received) == 5)
        assert there.received[4].id == there.received[0].id == first["event_id"]
        assert there.received[4].body == there.received[0].body
        eventually(lambda: states(web, webhook_id) == ["succeeded"] * 4)

        assert web.post(f"{path}/replay", json={"since": between}).get_json() == {"replayed": 3}
        eventually(lambda: len(there.received) == 8)
        assert {json.loads(one.body)["data"]["id"] for one in there.received[5:]} == later
        eventually(lambda: states(web, webhook_id) == ["succeeded"] * 4)
        looked = web.get(f"{path}/deliveries/{first['id']}").get_json()
        assert len(looked["attempts"]) == 2


@pytest.mark.parametrize("since", ["yesterday", 1_795_000_000, "2026-11-25", "2026-11-25T08:00:00", None])
def test_a_replay_wants_a_moment(http: FlaskClient, since: object) -> None:
    path = f"/v1/webhooks/{add(http)['id']}/replay"
    refused(http.post(path, json={"since": since}), 422, "field_invalid")


def test_deliveries_are_listed_in_pages_newest_first(web: FlaskClient, courier: WebhookDispatcher) -> None:
    with receiver() as there:
        webhook_id = add(web, there.url)["id"]
        for _ in range(7):
            canceled_job(web)
        eventually(lambda: states(web, webhook_id) == ["succeeded"] * 7)
    path = f"/v1/webhooks/{webhook_id}/deliveries"
    everything = [one["id"] for one in deliveries(web, webhook_id)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = web.get(path, query_string={"limit": 3, "state": "succeeded", **cursor}).get_json()
        seen += [one["id"] for one in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == everything
    assert deliveries(web, webhook_id, state="failed") == []


def test_what_is_made_while_deliveries_are_listed_moves_none_of_them(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long lists are looked through in pieces."""
    monkeypatch.setattr("stentor.webhooks.store.PIECE", 2)
    store = WebhookStore(client, keep_s=3600)
    endpoint = Endpoint(id="whe_one", owner="acme", url=URL)

    def put(number: int) -> None:
        delivery = Delivery(
            id=f"whd_{number}", event="", type="", endpoint=endpoint.id, owner="acme", url=URL, payload=""
        )
        client.hset(keys.delivery(delivery.id), items=to_items(delivery))
        client.zadd(keys.deliveries(endpoint.id), {delivery.id: number})

    for number in range(1, 6):
        put(number)
    numbers = itertools.count(6)
    found = WebhookStore._read_deliveries

    def meanwhile(store: WebhookStore, ids: Sequence[str]) -> Sequence[Delivery]:
        put(next(numbers))
        return found(store, ids)

    monkeypatch.setattr(WebhookStore, "_read_deliveries", meanwhile)
    page = store.deliveries(endpoint, limit=100)
    assert [delivery.id for delivery in page.deliveries] == ["whd_5", "whd_4", "whd_3", "whd_2", "whd_1"]
    assert page.next_cursor is None


def test_a_deleted_endpoint_hears_nothing_more(web: FlaskClient, courier: WebhookDispatcher) -> None:
    def how(handler: Handler, request: Received) -> None:
        handler.answer(500)

    with receiver(how) as there, receiver() as kept:
        webhook_id = add(web, there.url)["id"]
        add(web, kept.url)
        canceled_job(web)
        eventually(lambda: there.received and kept.received)
        assert web.delete(f"/v1/webhooks/{webhook_id}").status_code == 204
        canceled_job(web)
        eventually(lambda: len(kept.received) == 2)
        assert len(there.received) == 1


def test_an_owner_without_receivers_puts_nothing_into_the_outbox(http: FlaskClient, client: redis.Redis) -> None:
    canceled_job(http)
    assert client.xlen(keys.OUTBOX) == 0
