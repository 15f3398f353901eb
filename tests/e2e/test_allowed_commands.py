"""The rooms, each as its own user of the Redis that `compose/` ships: whatever they do is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.access_list import Server, shipped_valkey
from tests.support.servers.receivers import LOOPBACK, receiver
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

USERS = {"api": "api", "device": "worker", "io": "io", "scheduler": "scheduler"}
ENVIRON = {
    "STENTOR_HOST": "host",
    "STENTOR_WEBHOOK_ALLOW": LOOPBACK,
    "STENTOR_RATE_LIMIT": "10000/minute",
    "STENTOR_DAILY_CHARS": "1000000",
    "STENTOR_MAX_WAITING_JOBS": "10000",
    "STENTOR_UNLOAD_WINDOWS": "03:00-03:01 UTC",
    "STENTOR_METRICS_BIND": "127.0.0.1:0",
    "STENTOR_LOG_LEVEL": "debug",
}
ROWS = "id,text,group\n" + "".join(f"n{number},Gate {number} closes soon.,g{number % 2}\n" for number in range(40))


@pytest.fixture(scope="module")
def server(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shipped_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(scope="module")
def rooms(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    near, logs = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")
    with rooms_apart(near, logs, STENTOR_REDIS_URL_FILE=server.url_file("admin"), **ENVIRON) as made:
        for name, user in USERS.items():
            made.start(name, STENTOR_REDIS_URL_FILE=server.url_file(user))
        eventually(made.ready, 200)
        yield made


def refused(server: Server) -> list[dict[str, Any]]:
    """What Redis has refused somebody, as it tells it itself."""
    answer: list[dict[str, Any]] = server.client("admin").acl_log()
    return [{name: entry[name] for name in ("username", "reason", "context", "object")} for entry in answer]


def ask(rooms: Rooms, method: str, path: str, **rest: Any) -> Any:
    answer = rooms.http(method, path, **rest)
    assert answer.is_success, answer.text
    return answer.json() if answer.headers["Content-Type"] == "application/json" else answer.content


def test_jobs_bulks_voices_webhooks_orders_and_sweeps_are_all_allowed(
    rooms: Rooms, server: Server, tmp_path: Path
) -> None:
    with receiver() as inbox:
        ask(rooms, "POST", "/v1/webhooks", json={"url": inbox.url})
        jobs = rooms.settled(rooms.submit(*[f"Number {number}, please." for number in range(10)]))
        assert {job["state"] for job in jobs} == {"succeeded"}
        ask(rooms, "POST", "/v1/jobs", json={"text": "Number 1, please.", "webhook_url": inbox.url})
        for job_id in rooms.submit("Never mind.", "Forget about it."):
            rooms.http("POST", f"/v1/jobs/{job_id}/cancel")
        speech = ask(rooms, "POST", "/v1/audio/speech", json={"model": "tts-1", "input": "Hello.", "voice": "joe"})
        assert len(speech) > 1000
        bulk(rooms)
        voice(rooms)
        device_orders(rooms)
        ask(rooms, "GET", "/v1/cost")
        ask(rooms, "GET", "/v1/usage")
        eventually(lambda: len(inbox.received) >= 12)
        (endpoint, *_) = ask(rooms, "GET", "/v1/webhooks")["webhooks"]
        (delivery, *_) = ask(rooms, "GET", f"/v1/webhooks/{endpoint['id']}/deliveries")["deliveries"]
        ask(rooms, "POST", f"/v1/webhooks/{endpoint['id']}/deliveries/{delivery['id']}/replay")
        swept(rooms)
    assert refused(server) == []


def bulk(rooms: Rooms) -> None:
    """One that is spoken, packed and joined, and one that is paused, goes on and is canceled."""
    done = ask(rooms, "POST", "/v1/bulks", files={"file": ("rows.csv", ROWS, "text/csv")}, data={"archive": "true"})
    path = f"/v1/bulks/{done['id']}"
    eventually(lambda: ask(rooms, "GET", path)["state"] == "succeeded", 90)
    eventually(lambda: rooms.http("GET", f"{path}/archive.zip").status_code in (200, 302, 303, 307), 60)
    eventually(lambda: {one["state"] for one in ask(rooms, "GET", f"{path}/groups")["groups"]} == {"succeeded"})
    many = "id,text\n" + "".join(f"m{number},Line {number} of a list that is long.\n" for number in range(400))
    other = ask(rooms, "POST", "/v1/bulks", files={"file": ("many.csv", many, "text/csv")})
    for word in ("pause", "resume", "cancel"):
        ask(rooms, "POST", f"/v1/bulks/{other['id']}/{word}")


def voice(rooms: Rooms) -> None:
    """A recording that is uploaded, checked and deleted."""
    text = "This is a recording that lasts for a while, so that somebody could be cloned with it."
    (job,) = rooms.settled(rooms.submit(text))
    audio = ask(rooms, "GET", f"/v1/jobs/{job['id']}/audio", follow_redirects=True)
    form = {
        "name": "mine",
        "language": "en-US",
        "consent": "I agree to being cloned for this test.",
        "transcript": text,
    }
    ask(rooms, "POST", "/v1/voices", data=form, files={"audio": ("mine.wav", audio, "audio/wav")})
    eventually(lambda: "ready" in str(ask(rooms, "GET", "/v1/voices/mine")))
    assert rooms.http("DELETE", "/v1/voices/mine").is_success


def device_orders(rooms: Rooms) -> None:
    """A model that leaves its device and comes back, and what a person wants of it."""

    def state() -> str:
        return str(ask(rooms, "GET", "/v1/devices")["devices"][0]["state"])

    ask(rooms, "POST", "/v1/devices/host%2Fcpu/unload")
    eventually(lambda: state() == "unloaded", 60)
    ask(rooms, "POST", "/v1/devices/host%2Fcpu/load")
    eventually(lambda: state() == "idle", 60)
    ask(rooms, "POST", "/v1/devices/host%2Fcpu/auto")


def swept(rooms: Rooms) -> None:
    """A sweep that begins after all that, and goes to its end."""
    before = len(rooms.events("swept", "io"))
    # One that was under way before may have ended just now: two are enough, in any case.
    eventually(lambda: len(rooms.events("swept", "io")) >= before + 2, 150)
    assert rooms.events("sweep_failed", "io") == []
