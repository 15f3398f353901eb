"""``stentor health`` beside real rooms: well, without Redis, and well again."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from stentor.devices.registry import DeviceRegistry, DeviceStatus
from stentor.redis import keys
from stentor.redis.client import connect
from tests.conftest import Measured
from tests.support.stacks.rooms import ROOMS, Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

#: The room -> what is asked about it, and the sentence of a healthy one.
ASKED = {
    "api": (("api", "--bind", "0.0.0.0:{port}"), "The API at 0.0.0.0:{port} is ready"),
    "device": (("worker", "--device", "cpu"), "The device testhost/cpu is "),
    "io": (("io",), "The io worker testhost/io is running."),
    "scheduler": (("scheduler",), "The scheduler testhost/scheduler is running."),
}
#: What one check may take with a Redis that refuses connections: it is tried once. Here is a busy machine.
AT_MOST_S = 10.0


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    near, logs = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")
    with rooms_apart(near, logs, STENTOR_HOST="testhost") as made:
        for name in ROOMS:
            made.start(name)
        eventually(made.ready, 60)
        yield made


def ask(rooms: Rooms, name: str) -> subprocess.CompletedProcess[str]:
    words, _ = ASKED[name]
    began_s = time.monotonic()
    answer = rooms.cli("health", *(word.format(port=rooms.port) for word in words))
    assert time.monotonic() - began_s < AT_MOST_S
    return answer


def well(rooms: Rooms, name: str) -> bool:
    answer = ask(rooms, name)
    return answer.returncode == 0 and answer.stdout.startswith(ASKED[name][1].format(port=rooms.port))


@pytest.mark.parametrize("name", ASKED)
def test_a_room_that_works_is_well(rooms: Rooms, name: str) -> None:
    eventually(lambda: well(rooms, name), 60)


def test_without_redis_no_room_is_well_and_afterwards_each_is(rooms: Rooms) -> None:
    rooms.near.stop("valkey")
    answers = {name: ask(rooms, name) for name in ASKED}
    rooms.near.start("valkey")
    assert {name: answer.returncode for name, answer in answers.items()} == dict.fromkeys(ASKED, 3)
    assert "redis: Redis failed: ConnectionError" in answers["api"].stderr
    assert all("(redis_unavailable)" in answers[name].stderr for name in ("device", "io", "scheduler"))
    for name in ASKED:
        eventually(lambda name=name: well(rooms, name), 60)  # type: ignore[misc]


def test_an_api_that_is_not_there_is_not_well(rooms: Rooms) -> None:
    answer = rooms.cli("health", "api", "--bind", "127.0.0.1:1")
    assert (answer.returncode, answer.stdout) == (3, "")
    assert answer.stderr == (
        "error: The API does not answer at 127.0.0.1:1: [Errno 111] Connection refused (api_unavailable)\n"
    )


def test_a_device_that_nobody_heard_of_is_not_well(rooms: Rooms) -> None:
    answer = rooms.cli("health", "worker", "--device", "cuda:7")
    assert answer.returncode == 3
    assert answer.stderr == "error: The device testhost/cuda:7 has never reported. (room_silent)\n"


def test_a_scheduler_that_stopped_ticking_is_not_well(rooms: Rooms) -> None:
    scheduler = rooms.running["scheduler"]
    scheduler.send_signal(signal.SIGSTOP)
    try:
        with contextlib.closing(connect(rooms.settings)) as client:
            client.pexpire(keys.beat("scheduler", "testhost"), 1)  # as if the 15 s for which a tick is good were over
        eventually(lambda: not well(rooms, "scheduler"))
        answer = ask(rooms, "scheduler")
    finally:
        scheduler.send_signal(signal.SIGCONT)
    assert answer.stderr == (
        "error: The scheduler testhost/scheduler has no valid heartbeat: it is not running or it hangs. (room_silent)\n"
    )
    eventually(lambda: well(rooms, "scheduler"), 60)


def test_a_device_that_fell_silent_or_failed_is_not_well(rooms: Rooms) -> None:
    now = time.time()
    silent = DeviceStatus(id="testhost/cuda:0", pid=1, state="idle", started_at=now - 900, seen_at=now - 61)
    failed = DeviceStatus(id="testhost/cuda:1", pid=1, state="failed", started_at=now, seen_at=now, error="no memory")
    with contextlib.closing(connect(rooms.settings)) as client:
        registry = DeviceRegistry(client, lease_s=60)
        registry.report(silent)
        registry.report(failed)
    answers = [rooms.cli("health", "worker", "--device", device) for device in ("cuda:0", "cuda:1")]
    assert [(answer.returncode, answer.stderr) for answer in answers] == [
        (3, "error: The device testhost/cuda:0 has not reported for 60 s. (room_silent)\n"),
        (3, "error: The device testhost/cuda:1 has failed: no memory (room_silent)\n"),
    ]


def test_asking_takes_less_than_a_second_of_cpu(rooms: Rooms, measured: Measured) -> None:
    took_s = {name: cpu_s(lambda name=name: ask(rooms, name)) for name in ASKED}  # type: ignore[misc]
    measured(", ".join(f"{name} {seconds:.2f} s" for name, seconds in took_s.items()))
    assert all(seconds < 1.0 for seconds in took_s.values())


def cpu_s(do: Callable[[], object]) -> float:
    """What of the CPU the processes took that ``do`` started and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    do()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
