"""The rooms as processes of their own, with Redis and S3 elsewhere: what a team with several machines runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.stacks.rooms import ROOMS, Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")) as made:
        yield made


def test_rooms_that_start_before_redis_wait_for_it(rooms: Rooms) -> None:
    rooms.near.stop("valkey")
    for name in ROOMS:
        rooms.start(name)
    eventually(rooms.listens, 60)
    assert rooms.http("GET", "/readyz").status_code == 503
    rooms.near.start("valkey")
    eventually(rooms.ready, 60)
    (job,) = rooms.settled(rooms.submit("Good morning."))
    assert job["state"] == "succeeded"


def test_a_redis_that_was_away_finds_everyone_where_they_were(rooms: Rooms) -> None:
    pids = {name: process.pid for name, process in rooms.running.items()}
    before = rooms.submit(*[f"This is number {number}." for number in range(20)])
    rooms.near.stop("valkey")
    answer = rooms.http("POST", "/v1/jobs", json={"text": "Is anybody there?"})
    assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    time.sleep(5)
    rooms.near.start("valkey")
    eventually(rooms.ready, 60)
    jobs = rooms.settled([*before, *rooms.submit("Welcome back.")])
    assert [job["state"] for job in jobs] == ["succeeded"] * 21
    assert {name: process.pid for name, process in rooms.running.items() if process.poll() is None} == pids
    listed = rooms.http("GET", "/v1/jobs?limit=1000").json()["jobs"]
    assert "Is anybody there?" not in str(listed)
    assert len(listed) == 22


def test_jobs_wait_for_an_s3_that_was_away(rooms: Rooms) -> None:
    rooms.near.stop("s3")
    ids = rooms.submit(*[f"This waits for storage, number {number}." for number in range(5)])
    time.sleep(3)
    assert {rooms.http("GET", f"/v1/jobs/{job_id}").json()["state"] for job_id in ids} <= {"queued", "running"}
    assert rooms.http("GET", "/readyz").json()["checks"]["storage"]["ok"] is False
    rooms.near.start("s3")
    jobs = rooms.settled(ids)
    assert [(job["state"], job["attempts"]) for job in jobs] == [("succeeded", 1)] * 5


def test_all_that_the_rooms_have_logged_are_events(rooms: Rooms) -> None:
    for name in ("io", "device"):
        rooms.running[name].send_signal(signal.SIGTERM)
        assert rooms.running.pop(name).wait(30) == 0
    assert rooms.foreign_lines() == {"api": [], "io": [], "device": [], "scheduler": []}
