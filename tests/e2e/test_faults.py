"""What dies, hangs or goes away while texts are spoken: nothing accepted is lost, and nothing is settled twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stentor.client.types import JobJson
from tests.support.stacks.stack import Stack, eventually, stack

pytestmark = pytest.mark.faults

#: Three batches on a CPU (``CPU_BUDGET_S``), so that there is a middle.
TEXTS = [f"Notice number {number}: the shop closes at eight." for number in range(40)]
#: Processes of the stack that only `make test-all` kills here; other tests kill servers too.
OTHER_PROCESSES = ("valkey", "s3", "io", "scheduler")


@pytest.fixture(scope="module")
def victim(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack to hurt; every test waits until it has healed."""
    with stack(tmp_path_factory.mktemp("victim"), STENTOR_LEASE_S="8") as running:
        yield running


def device_pid(victim: Stack) -> int:
    """The process that holds the model, once the device is live."""

    def look() -> int | None:
        (device,) = victim.http("GET", "/v1/devices").json()["devices"]
        return int(device["pid"]) if device["state"] in {"idle", "busy"} else None

    return eventually(look, 60) or 0


def submitted(victim: Stack) -> list[str]:
    with victim.client() as client:
        return [job["id"] for job in client.submit_jobs([{"text": text, "cache": False} for text in TEXTS])]


def settled(victim: Stack, ids: list[str]) -> list[JobJson]:
    with victim.client() as client:
        return [client.settled_job(job_id, timeout_s=120) for job_id in ids]


def outcomes(victim: Stack, ids: list[str]) -> Counter[str]:
    """How often each job was settled, by the device's own log."""
    done = (event["job_id"] for event in victim.events("worker:cpu", "job_settled"))
    return Counter(job_id for job_id in done if job_id in ids)


def wait_until_spoken(victim: Stack, ids: list[str], count: int) -> None:
    eventually(lambda: sum(outcomes(victim, ids).values()) >= count, 60)


@pytest.mark.slow
def test_kill_9_of_the_device_in_the_middle_of_a_batch(victim: Stack) -> None:
    ids = submitted(victim)
    wait_until_spoken(victim, ids, 1)
    pid = device_pid(victim)
    os.kill(pid, signal.SIGKILL)
    jobs = settled(victim, ids)
    assert [job["state"] for job in jobs] == ["succeeded"] * len(ids)
    assert set(outcomes(victim, ids).values()) == {1}
    assert max(job["attempts"] for job in jobs) == 2
    assert device_pid(victim) != pid
    # Suspects ran alone.
    assert all(job["batch"] is not None and job["batch"]["size"] == 1 for job in jobs if job["attempts"] == 2)


@pytest.mark.parametrize(
    "name",
    [
        "worker:cpu",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("api", "valkey", "s3", "io", "scheduler")),
    ],
)
def test_kill_9_of_a_process_of_the_stack(victim: Stack, name: str) -> None:
    ids = submitted(victim)
    wait_until_spoken(victim, ids, 1)
    pid = victim.run.processes[name]
    os.kill(pid, signal.SIGKILL)
    assert victim.healed(name, pid) != pid
    jobs = settled(victim, ids)
    assert [job["state"] for job in jobs] == ["succeeded"] * len(ids)
    assert max(outcomes(victim, ids).values()) == 1
    eventually(lambda: victim.http("GET", "/readyz").status_code == 200, 60)


@contextlib.contextmanager
def halted(pid: int) -> Iterator[None]:
    """Stop a process so that it hangs: its port is open and nothing answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_while_redis_hangs_requests_are_refused_for_now_and_nothing_is_half_written(victim: Stack) -> None:
    before = victim.http("GET", "/v1/jobs?limit=1").json()["jobs"][0]["id"]
    with halted(victim.run.processes["valkey"]):
        started = time.monotonic()
        answer = victim.http("POST", "/v1/jobs", json={"text": "Hello?"})
        assert time.monotonic() - started < 30
        assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")
        assert answer.json()["retryable"] is True
        assert int(answer.headers["Retry-After"]) > 0
        assert victim.http("GET", "/healthz").status_code == 200
    eventually(lambda: victim.http("GET", "/readyz").status_code == 200, 60)
    assert victim.http("GET", "/v1/jobs?limit=1").json()["jobs"][0]["id"] == before
    (job,) = victim.speak([{"text": "Hello again."}])
    assert job["state"] == "succeeded"


def test_while_s3_hangs_jobs_wait_and_succeed_when_it_returns(victim: Stack) -> None:
    with halted(victim.run.processes["s3"]):
        ids = submitted(victim)
        time.sleep(4)
        states = {victim.http("GET", f"/v1/jobs/{job_id}").json()["state"] for job_id in ids}
        assert states <= {"queued", "running"}
    jobs = settled(victim, ids)
    assert [job["state"] for job in jobs] == ["succeeded"] * len(ids)
    assert {job["attempts"] for job in jobs} == {1}
    with victim.client() as client:
        assert all(len(client.audio(job["id"])) > 10_000 for job in jobs)


def test_unloading_ends_the_devices_process_and_the_next_text_loads_the_model_again(victim: Stack) -> None:
    pid = device_pid(victim)
    (device,) = json.loads(victim.cli("devices", "--json").stdout)["devices"]
    loaded_bytes = psutil.Process(pid).memory_info().rss
    victim.cli("devices", "unload", device["id"])

    def unloaded() -> dict[str, object] | None:
        (seen,) = victim.http("GET", "/v1/devices").json()["devices"]
        return seen if seen["state"] == "unloaded" and seen["pid"] != pid else None

    now = eventually(unloaded, 30)
    assert now is not None
    assert now["model"] is None
    assert not psutil.pid_exists(pid)
    assert psutil.Process(int(str(now["pid"]))).memory_info().rss < loaded_bytes / 2
    assert victim.http("GET", "/readyz").status_code == 200
    (job,) = victim.speak([{"text": "Awake again."}])
    assert job["state"] == "succeeded"
    victim.cli("devices", "unload", device["id"])
    assert eventually(unloaded, 30)
    victim.cli("devices", "load", device["id"])
    device_pid(victim)


@pytest.mark.slow
def test_a_killed_stack_finds_its_data_at_the_next_start_and_speaks_what_waited(programs: None, tmp_path: Path) -> None:
    first = Stack(tmp_path, {})
    (done,) = first.speak([{"text": "This was spoken before."}])
    ids = submitted(first)
    key = first.run.api_key
    pids = [first.run.pid, *first.run.processes.values()]
    os.kill(first.run.pid, signal.SIGKILL)
    first.stop()
    with stack(tmp_path) as second:
        assert not set(pids) & set(second.run.processes.values())
        assert second.run.api_key == key
        jobs = settled(second, ids)
        assert [job["state"] for job in jobs] == ["succeeded"] * len(ids)
        with second.client() as client:
            assert client.job(done["id"])["sha256"] == done["sha256"]
            assert len(client.audio(done["id"])) > 10_000


@pytest.mark.slow
def test_sigterm_stops_everything_in_order_and_leaves_no_process(programs: None, tmp_path: Path) -> None:
    running = Stack(tmp_path, {})
    pids = list(running.run.processes.values())
    pids += [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    ids = submitted(running)
    told = running.stop()
    assert running.exit_code == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not (tmp_path / "run.json").exists()
    ends = [line.split()[:2] for line in told.splitlines() if " stopped" in line or " killed after" in line]
    assert [name for name, _ in ends] == ["api", "worker:cpu", "io", "io-2", "scheduler", "valkey", "s3"]
    # One time in twenty SeaweedFS's volume server waits 30 s for a connection that nobody uses; its grace is 10 s.
    assert {how for name, how in ends if name != "s3"} == {"stopped"}
    with stack(tmp_path) as again:
        assert [job["state"] for job in settled(again, ids)] == ["succeeded"] * len(ids)
