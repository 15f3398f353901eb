"""What a person wants of a device: over the API, and in the words of the command line."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click
import pytest
import redis
from flask.testing import FlaskClient

from stentor.cli.commands.devices import COLUMNS, _row
from stentor.cli.time_types import DurationType
from stentor.devices.overrides import OverrideStore
from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.doorbell import device_queue
from stentor.redis import keys
from tests.support.speech.factories import TONE

DEVICE = "gpu-7/cuda:0"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def device(client: redis.Redis) -> DeviceStatus:
    """A device that reported just now."""
    now = time.time()
    status = DeviceStatus(
        id=DEVICE, pid=7, state=DeviceState.IDLE, models=(TONE,), model=TONE, started_at=now, seen_at=now,
        loaded_at=1_800_000_000.0, load_s=1.5, spoke_at=1_800_000_001.25, gpu="GPU-1",
    )  # fmt: skip
    DeviceRegistry(client, lease_s=60).report(status)
    return status


def ordered(client: redis.Redis) -> list[tuple[str, object]]:
    """Task and arguments of what lies in the device's queue, the first last."""
    messages = [json.loads(str(raw)) for raw in client.lrange(keys.queue(device_queue(DEVICE)), 0, -1)]
    return [(one["headers"]["task"], one["headers"]["kwargsrepr"]) for one in messages]


def shown(http: FlaskClient) -> dict[str, object]:
    (found,) = http.get("/v1/devices").get_json()["devices"]
    assert isinstance(found, dict)
    return found


def test_a_device_is_shown_with_what_is_known_of_it(http: FlaskClient, device: DeviceStatus) -> None:
    seen = shown(http)
    assert [seen[name] for name in ("loaded_at", "load_s", "spoke_at", "gpu")] == [
        "2027-01-15T08:00:00Z", 1.5, "2027-01-15T08:00:01.250000Z", "GPU-1",
    ]  # fmt: skip
    assert [seen[name] for name in ("override", "clocks", "reason", "clocks_reason")] == [None] * 4


def test_a_device_is_shown_with_what_the_schedulers_tell(
    http: FlaskClient, client: redis.Redis, device: DeviceStatus
) -> None:
    want = {
        "residency": "resident",
        "residency_reason": "no window",
        "clocks": "low",
        "clocks_reason": "idle for 301 s",
    }
    client.hset(keys.WANTS, DEVICE, json.dumps(want))
    client.hset(keys.keeper("gpu-7"), DEVICE, json.dumps({"state": "unavailable", "since": 1.0, "reason": "no rights"}))
    seen = shown(http)
    assert [seen[name] for name in ("reason", "clocks", "clocks_reason")] == ["no window", "unavailable", "no rights"]
    client.hset(keys.keeper("gpu-7"), DEVICE, json.dumps({"state": "low", "since": 1.0, "reason": ""}))
    assert [shown(http)[name] for name in ("clocks", "clocks_reason")] == ["low", "idle for 301 s"]
    for unknown in ("low", "[1]"):
        client.hset(keys.keeper("gpu-7"), DEVICE, unknown)
        assert shown(http)["clocks"] is None


@pytest.mark.parametrize(
    ("what", "residency", "order"),
    [("unload", "unloaded", ("stentor.unload", "{'why': 'person'}")), ("load", "resident", ("stentor.load", "{}"))],
)
def test_an_order_acts_at_once_and_stays(
    http: FlaskClient, client: redis.Redis, device: DeviceStatus, what: str, residency: str, order: tuple[str, str]
) -> None:
    answer = http.post(f"/v1/devices/{DEVICE}/{what}")
    assert answer.status_code == 202
    override = answer.get_json()["override"]
    assert (override["residency"], override["clocks"], override["by"]) == (residency, "auto", "tests")
    assert override["expires_at"] is None
    assert ordered(client) == [order]
    assert client.ttl(keys.override(DEVICE)) == -1


def test_what_is_wanted_for_a_while_is_not_made_lasting_by_what_is_wanted_beside_it(
    client: redis.Redis, device: DeviceStatus
) -> None:
    store = OverrideStore(client)
    ends = store.put(DEVICE, residency="resident", by="tests", for_s=7200).expires_at
    assert store.put(DEVICE, clocks="normal", by="tests").expires_at == ends
    assert 7100 < client.ttl(keys.override(DEVICE)) <= 7200
    assert store.put(DEVICE, residency="auto", clocks="normal", by="tests").expires_at is None


def test_an_order_may_be_for_a_while(http: FlaskClient, client: redis.Redis, device: DeviceStatus) -> None:
    http.post(f"/v1/devices/{DEVICE}/unload", json={"for_s": 7200})
    assert 7100 < client.ttl(keys.override(DEVICE)) <= 7200
    assert shown(http)["override"] is not None
    http.post(f"/v1/devices/{DEVICE}/unload", json={})
    assert client.ttl(keys.override(DEVICE)) == -1


def test_model_and_clocks_are_overridden_apart_and_left_to_the_policy_together(
    http: FlaskClient, client: redis.Redis, device: DeviceStatus
) -> None:
    http.post(f"/v1/devices/{DEVICE}/load")
    answer = http.post(f"/v1/devices/{DEVICE}/clocks", json={"clocks": "low"})
    assert (answer.status_code, answer.get_json()["override"]["residency"]) == (202, "resident")
    assert answer.get_json()["override"]["clocks"] == "low"
    answer = http.post(f"/v1/devices/{DEVICE}/auto")
    assert (answer.status_code, answer.get_json()["override"]) == (202, None)
    assert OverrideStore(client).of([DEVICE]) == {}
    assert ordered(client) == [("stentor.load", "{}")]


@pytest.mark.parametrize(
    ("what", "body", "status", "code"),
    [
        ("clocks", {"clocks": "high"}, 422, "field_invalid"),
        ("clocks", {}, 422, "field_invalid"),
        ("clocks", None, 415, "content_type_unsupported"),
        ("unload", {"for_s": 0}, 422, "field_invalid"),
        ("unload", {"for_s": "2h"}, 422, "field_invalid"),
        ("load", {"until": 5}, 422, "field_invalid"),
    ],
)
def test_what_is_no_wish_is_refused_by_name(
    http: FlaskClient, client: redis.Redis, device: DeviceStatus, what: str, body: object, status: int, code: str
) -> None:
    answer = http.post(f"/v1/devices/{DEVICE}/{what}", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert OverrideStore(client).of([DEVICE]) == {}
    assert ordered(client) == []


@pytest.mark.parametrize("what", ["unload", "load", "auto"])
def test_a_device_that_never_reported_is_not_overridden(http: FlaskClient, client: redis.Redis, what: str) -> None:
    answer = http.post(f"/v1/devices/{DEVICE}/{what}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "device_not_found")
    assert not client.exists(keys.override(DEVICE))


# --- in words


@pytest.mark.parametrize(
    ("written", "span_s"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1.5h", 5400)]
)
def test_a_span_of_time_is_read_in_its_unit(written: str, span_s: float) -> None:
    assert DurationType().convert(written, None, None) == span_s


@pytest.mark.parametrize("written", ["", "30", "s", "-1h", "0s", "2 h", "2h30m", "1w", "infd", "٣s"])
def test_what_is_no_span_of_time_is_refused(written: str) -> None:
    with pytest.raises(click.BadParameter, match="30s, 10m, 2h or 1d"):
        DurationType().convert(written, None, None)


def test_a_device_is_a_row_that_says_how_long_ago() -> None:
    override = {"residency": "unloaded", "clocks": "low", "expires_at": "2026-11-25T13:50:00Z"}
    row = _row(
        {
            "id": DEVICE, "state": "idle", "model": "joe", "clocks": "low", "override": override, "error": None,
            "loaded_at": "2026-11-25T09:00:00Z", "spoke_at": "2026-11-25T11:59:15Z", "gpu": "GPU-1",
            "reason": "a window",
        },
        NOW,
    )  # fmt: skip
    assert dict(zip(COLUMNS, row, strict=True)) == {
        "id": DEVICE, "state": "idle", "model": "joe", "clocks": "low", "override": "unloaded, clocks low, 110 m left",
        "loaded": "3 h ago", "spoke": "45 s ago", "gpu": "GPU-1", "reason": "a window",
    }  # fmt: skip
