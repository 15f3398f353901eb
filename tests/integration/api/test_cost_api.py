"""`/v1/cost`: the bill as admins see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from flask.testing import FlaskClient

from api.app import create_app
from stentor.devices.registry import DeviceState
from stentor.jobs.job import JobState
from stentor.owners.access import READ, KeyStore
from stentor.settings import Settings
from tests.integration.api.test_jobs_api import refused
from tests.integration.api.test_usage import MakeBench
from tests.support.work.metering import Metered

#: Noon of today, on which usage counts, too.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture
def device(client: redis.Redis, settings: Settings) -> Metered:
    """A device that has spoken twelve passes, idled, and been unloaded; and an hour later its bill."""
    made = Metered(client, settings, at=NOON.timestamp())
    made.tick()
    for number in range(12):
        made.speak([40, 50 + number] * (1 + number % 3), took_s=2, watts=300)
        made.spend(1, watts=60)
    made.spend(600, watts=60)
    made.set_clocks("low")
    made.spend(600, watts=30)
    made.turn(DeviceState.UNLOADED, model=None)
    made.spend(1200, watts=20)
    made.meter.flush()
    return made


def test_the_bill_tells_what_was_used_and_what_it_cost(http: FlaskClient, device: Metered) -> None:
    cost = http.get("/v1/cost?price_kwh=0.5&price_gpu_hour=2").get_json()
    total = cost["total"]
    joules = 24 * 300 + 612 * 60 + 600 * 30 + 1200 * 20
    assert total["energy_j"] == pytest.approx(joules)
    assert total["kwh"] == pytest.approx(joules / 3.6e6)
    assert total["money"] == pytest.approx(joules / 3.6e6 * 0.5 + 2436 / 3600 * 2)
    assert total["seconds"] == {
        "busy": 24, "idle": 612, "idle_low": 600, "unloaded": 0, "unloaded_low": 1200, "starting": 0, "unknown": 0,
    }  # fmt: skip
    assert (total["batches"], total["rows"], total["energy_from"]) == (12, 48, "counter")
    assert total["j_per_audio_hour"] == pytest.approx(joules / total["audio_hours"], rel=1e-6)
    assert total["reasons"] == {"j_per_million_characters": "no characters were submitted"}
    saved = total["savings"]
    assert saved["clocks"]["energy_j"] == pytest.approx((600 + 1200) * 30)
    assert saved["unloading"]["energy_j"] == pytest.approx(1200 * (30 - 20))
    assert saved["unloading"]["device_money"] == pytest.approx(1200 / 3600 * 2)
    assert total["always_on"]["energy_j"] == pytest.approx(joules + saved["total"]["energy_j"])
    (one,) = cost["devices"]
    assert (one["id"], one["watts"]["idle"], one["watts"]["unloaded"]) == ("testhost/cuda:0", 60, None)
    assert one["watts"]["reasons"]["unloaded"] == "the device was never unloaded"
    assert [day["date"] for day in one["days"]] == [NOON.date().isoformat()]
    assert cost["formulas"]["clocks"].startswith("seconds.idle_low x (watts.idle - watts.idle_low)")


def test_prices_are_those_of_the_settings_unless_others_are_asked_for(
    client: redis.Redis, settings: Settings, api_key: str, device: Metered
) -> None:
    app = create_app(settings.model_copy(update={"price_kwh": 0.4}))
    asked = app.test_client()
    headers = {"Authorization": f"Bearer {api_key}"}
    cost = asked.get("/v1/cost", headers=headers).get_json()
    assert (cost["price_kwh"], cost["price_gpu_hour"]) == (0.4, None)
    assert cost["total"]["money"] == pytest.approx(cost["total"]["kwh"] * 0.4)
    assert cost["total"]["reasons"]["device_money"] == "no GPU price is set (STENTOR_PRICE_GPU_HOUR)"
    assert asked.get("/v1/cost?price_kwh=0", headers=headers).get_json()["price_kwh"] == 0


def test_a_day_is_told_by_ten_minutes_if_that_is_asked_for(http: FlaskClient, device: Metered) -> None:
    assert http.get("/v1/cost").get_json()["slots"] is None
    slots = http.get(f"/v1/cost?until={NOON.date()}&slots=true").get_json()["slots"]
    assert [slot["begin"][11:16] for slot in slots] == ["12:00", "12:10", "12:20", "12:30", "12:40"]
    assert slots[2]["seconds"]["unloaded_low"] + slots[2]["seconds"]["idle_low"] == pytest.approx(600)
    assert (slots[3]["watts"], slots[3]["clock_mhz"]) == (20, 1500)
    yesterday = NOON.date() - timedelta(days=1)
    assert http.get(f"/v1/cost?until={yesterday}&slots=true").get_json()["slots"] == []


def test_keys_share_the_money_of_the_devices_that_spoke_for_them(
    http: FlaskClient, client: redis.Redis, device: Metered, make: MakeBench
) -> None:
    """A key that was revoked is still there, under its id."""
    store = KeyStore(client)
    second = store.create(owner="acme", name="second")
    bench = make()
    job = http.post("/v1/jobs", json={"text": "x" * 20}).get_json()
    http.post("/v1/jobs", json={"text": "y" * 30}, headers={"Authorization": f"Bearer {second}"})
    bench.run()
    assert http.get(f"/v1/jobs/{job['id']}").get_json()["state"] == JobState.SUCCEEDED
    store.revoke(store.find(second).id)
    cost = http.get("/v1/cost?price_kwh=0.5&price_gpu_hour=2").get_json()
    assert sorted((key["owner"], key["key_name"], key["characters"]) for key in cost["keys"]) == [
        ("acme", "", 30),
        ("acme", "tests", 20),
    ]
    assert sum(key["share"] for key in cost["keys"]) == pytest.approx(1)
    assert sum(key["money"] for key in cost["keys"]) == pytest.approx(cost["total"]["money"])
    assert cost["total"]["characters"] == 50


def test_a_cluster_that_did_nothing_has_an_empty_bill(http: FlaskClient) -> None:
    cost = http.get("/v1/cost").get_json()
    assert (cost["devices"], cost["days"], cost["keys"]) == ([], [], [])
    assert (cost["total"]["energy_j"], cost["total"]["money"]) == (None, None)


def test_only_admins_see_the_bill(http: FlaskClient, client: redis.Redis) -> None:
    looks = KeyStore(client).create(owner="acme", name="looks", scopes=[READ])
    refused(http.get("/v1/cost", headers={"Authorization": f"Bearer {looks}"}), 403, "scope_missing")


@pytest.mark.parametrize(
    ("query", "field"),
    [("since=yesterday", "since"), ("price_kwh=-1", "price_kwh"), ("price_kwh=nan", "price_kwh"), ("key=x", "key")],
)
def test_what_is_no_question_is_named(http: FlaskClient, query: str, field: str) -> None:
    problem = refused(http.get(f"/v1/cost?{query}"), 422, "field_invalid")
    assert problem["errors"][0]["field"] == field  # type: ignore[index]
