"""The rooms as processes of their own, with Redis and S3 elsewhere: what a team with several machines runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stentor.access import KeyStore
from stentor.client import Client, JobJson
from stentor.embedded import Neighbours, neighbours
from stentor.embedded.ports import chosen_port
from stentor.redis_client import connect
from stentor.settings import Settings
from stentor.storage import Storage
from tests.stack import eventually

pytestmark = pytest.mark.faults

#: The rooms, as the quickstart starts them.
ROOMS = {
    "api": ("api", "--bind", "127.0.0.1:{port}"),
    "device": ("worker", "--device", "cpu"),
    "io": ("worker", "--io", "--concurrency", "1"),
    "scheduler": ("scheduler",),
}


class Rooms:
    """Four processes, their neighbours, and a client."""

    def __init__(self, near: Neighbours, folder: Path) -> None:
        self.near = near
        self.port = chosen_port(0, "127.0.0.1")
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("STENTOR_")} | near.environ
        self._folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        settings = Settings.from_environ(near.environ)
        Storage(settings).ensure_bucket()
        with contextlib.closing(connect(settings)) as client:
            self.key = KeyStore(client).create(owner="acme", name="tests")

    def start(self, name: str) -> None:
        words = [word.format(port=self.port) for word in ROOMS[name]]
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "stentor.cli", *words]
            self.running[name] = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)

    def http(self, method: str, path: str, **rest: object) -> httpx.Response:
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, url, headers=headers, timeout=60, trust_env=False, **rest)  # type: ignore[arg-type]

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.http("GET", "/readyz").status_code == 200
        return False

    def submit(self, *texts: str) -> list[str]:
        with Client(f"http://127.0.0.1:{self.port}", self.key) as client:
            return [job["id"] for job in client.submit_jobs([{"text": text} for text in texts])]

    def settled(self, ids: list[str]) -> list[JobJson]:
        with Client(f"http://127.0.0.1:{self.port}", self.key) as client:
            return [client.settled_job(job_id, timeout_s=60) for job_id in ids]

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(30) for name, process in self.running.items()}
        assert codes == dict.fromkeys(codes, 0)


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with neighbours(tmp_path_factory.mktemp("near")) as near:
        made = Rooms(near, tmp_path_factory.mktemp("logs"))
        try:
            yield made
        finally:
            made.stop()


def test_rooms_that_start_before_redis_wait_for_it(rooms: Rooms) -> None:
    rooms.near.stop("valkey")
    for name in ROOMS:
        rooms.start(name)
    eventually(lambda: _listens(rooms), 30)
    assert rooms.http("GET", "/readyz").status_code == 503
    rooms.near.start("valkey")
    eventually(rooms.ready, 60)
    (job,) = rooms.settled(rooms.submit("Good morning."))
    assert job["state"] == "succeeded"


def _listens(rooms: Rooms) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return rooms.http("GET", "/healthz").is_success
    return False


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
