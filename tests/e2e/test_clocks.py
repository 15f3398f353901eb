"""Clocks go low and come back, whatever ends the scheduler: real processes on a stub of the driver's library."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.redis import keys
from stentor.redis.client import connect
from tests.nvml.stub import StubGpus, stub_gpus
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

LOW, NORMAL = (210, 405), (0, 0)


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubGpus]:
    with stub_gpus(tmp_path_factory.mktemp("gpus")) as made:
        yield made


@pytest.fixture(scope="module")
def rooms(programs: None, gpus: StubGpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """An API and a device on the simulated GPU; each test starts its scheduler."""
    environ = {
        **gpus.environ,
        "STENTOR_SIMULATED": "l4*20",
        "STENTOR_DEFAULT_VOICE": "simulated-l4",
        "STENTOR_IDLE_CLOCKS_S": "1",
        "STENTOR_DWELL_S": "0",
    }
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs"), **environ) as made:
        made.start("api")
        made.start("gpu")
        eventually(lambda: (found := device(made)) is not None and found.state == DeviceState.IDLE, 60)
        eventually(made.ready, 60)
        yield made


def device(rooms: Rooms) -> DeviceStatus | None:
    with contextlib.closing(connect(rooms.settings)) as client:
        return next(iter(DeviceRegistry(client, lease_s=60).list()), None)


def lease(rooms: Rooms) -> list[str]:
    with contextlib.closing(connect(rooms.settings)) as client:
        return [str(gpu) for gpu in client.hkeys(keys.clocks(rooms.settings.host))]


def clocks_are(gpus: StubGpus, wanted: tuple[int, int], timeout_s: float = 15.0) -> None:
    eventually(lambda: gpus.locks(gpus.uuids[0]) == wanted, timeout_s)


def heir_of(pid: int) -> int:
    """The one child of the scheduler that reads its pipe."""
    (found,) = [child.pid for child in psutil.Process(pid).children() if "scheduler.clocks.restorer" in child.cmdline()]
    return int(found)


@contextlib.contextmanager
def scheduler(rooms: Rooms, gpus: StubGpus) -> Iterator[int]:
    """A scheduler that has lowered the clocks, by its pid; whatever is left of it is stopped."""
    rooms.start("scheduler")
    clocks_are(gpus, LOW)
    try:
        yield rooms.running["scheduler"].pid
    finally:
        with contextlib.suppress(KeyError):
            stop(rooms)


def stop(rooms: Rooms) -> None:
    running = rooms.running.pop("scheduler")
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0


def test_the_device_tells_its_gpu_and_the_api_its_clocks(rooms: Rooms, gpus: StubGpus) -> None:
    status = device(rooms)
    assert status is not None
    assert status.gpu == gpus.uuids[0]
    gpus.context(gpus.uuids[0], status.pid)
    with scheduler(rooms, gpus):
        assert lease(rooms) == gpus.uuids
        eventually(lambda: rooms.http("GET", "/v1/devices").json()["devices"][0]["clocks"] == "low")


def test_work_gets_normal_clocks_and_does_not_wait_for_them(rooms: Rooms, gpus: StubGpus) -> None:
    with scheduler(rooms, gpus):
        before = len(gpus.calls())
        (job,) = rooms.settled(rooms.submit("Your parcel arrives on Tuesday."))
        assert job["state"] == "succeeded"
        eventually(lambda: len(gpus.calls()) > before)
        call = gpus.calls()[before]
        assert call.words == ("reset_gpu", 0, 0, 0)
        assert job["started_at"] is not None
        began = datetime.datetime.fromisoformat(job["started_at"]).timestamp()
        assert began - 0.1 <= call.at < began + 0.9, "the next tick would have seen it, too"
        clocks_are(gpus, LOW)


def test_a_scheduler_that_stops_gives_clocks_back(rooms: Rooms, gpus: StubGpus) -> None:
    with scheduler(rooms, gpus) as pid:
        stop(rooms)
        assert gpus.locks(gpus.uuids[0]) == NORMAL
        assert gpus.calls()[-1].pid == pid
        assert lease(rooms) == []


def test_the_heir_gives_back_what_a_killed_scheduler_left(rooms: Rooms, gpus: StubGpus) -> None:
    with scheduler(rooms, gpus) as pid:
        heir = heir_of(pid)
        rooms.kill("scheduler")
        clocks_are(gpus, NORMAL, 5)
        assert gpus.calls()[-1].pid == heir
        assert lease(rooms) == gpus.uuids


def test_the_next_start_gives_back_what_both_left(rooms: Rooms, gpus: StubGpus) -> None:
    with scheduler(rooms, gpus) as pid:
        heir = heir_of(pid)
        os.kill(heir, signal.SIGSTOP)
        rooms.kill("scheduler")
        os.kill(heir, signal.SIGKILL)
        before = len(gpus.calls())
        assert gpus.locks(gpus.uuids[0]) == LOW
    rooms.start("scheduler")
    eventually(lambda: len(gpus.calls()) > before)
    assert gpus.calls()[before].words == ("reset_gpu", 0, 0, 0)
    assert gpus.calls()[before].pid == rooms.running["scheduler"].pid
    stop(rooms)


def test_the_command_gives_back_what_both_left(rooms: Rooms, gpus: StubGpus) -> None:
    with scheduler(rooms, gpus) as pid:
        heir = heir_of(pid)
        os.kill(heir, signal.SIGSTOP)
        rooms.kill("scheduler")
        os.kill(heir, signal.SIGKILL)
    done = give_back(rooms, gpus)
    assert (done.returncode, gpus.locks(gpus.uuids[0]), lease(rooms)) == (0, NORMAL, [])


def give_back(rooms: Rooms, gpus: StubGpus) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "stentor.cli", "scheduler", "--give-back"],
        env={**os.environ, **rooms.near.environ, **gpus.environ},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_clocks_are_safe_while_redis_is_away(rooms: Rooms, gpus: StubGpus, tmp_path: Path) -> None:
    with scheduler(rooms, gpus):
        rooms.near.stop("valkey")
        clocks_are(gpus, NORMAL, 8)
        gpus.lock_by_hand(gpus.uuids[0], *LOW)
        assert give_back(rooms, gpus).returncode == 0
        assert gpus.locks(gpus.uuids[0]) == NORMAL
        rooms.near.start("valkey")
        clocks_are(gpus, LOW, 30)
