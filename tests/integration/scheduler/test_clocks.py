"""The keeper of clocks, on NVIDIA's own binding over a stub of the driver, and a real Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from scheduler.clocks.gpus import LOWER_AGAIN_S, OPEN_AGAIN_S
from scheduler.clocks.keeper import AWAY_GRACE_S, ClockKeeper, give_back
from scheduler.clocks.policy import gpu_clocks
from scheduler.clocks.restorer import ClockRestorer
from scheduler.contexts import Contexts
from scheduler.plan import Clocks, Want
from stentor.devices.clocks import ClocksBoard
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from tests.nvml.stub import DRIVER_NOT_LOADED, NO_PERMISSION, UNKNOWN, FakeGpu, StubGpus, stub_gpus
from tests.support.stacks.stack import eventually

A, B = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-bbbbbbbb-0000-0000-0000-000000000000"
NOON = 1_700_000_000.0
LOWERED = [("set_gpu", 210, 210, 0), ("set_memory", 405, 405, 0)]
RESET = [("reset_gpu", 0, 0, 0), ("reset_memory", 0, 0, 0)]


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[StubGpus]:
    with stub_gpus(tmp_path, FakeGpu(uuid=A), FakeGpu(uuid=B), now=NOON) as made:
        yield made


@pytest.fixture
def keeper(client: redis.Redis, settings: Settings, gpus: StubGpus) -> Iterator[ClockKeeper]:
    made = ClockKeeper(client, settings)
    made.start(NOON)
    yield made
    made.close()


def a_device(device: str = "cuda:0", gpu: str | None = A, *, pid: int = 4_000_000, **fields: Any) -> DeviceStatus:
    """A device of this host, whose process is nobody's real one."""
    told = {"state": DeviceState.IDLE, "model": "joe", "started_at": NOON, "seen_at": NOON, **fields}
    return DeviceStatus(id=f"testhost/{device}", gpu=gpu, pid=pid, **told)


def a_want(clocks: str | None, reason: str = "as the test wants it") -> Want:
    return Want(residency=None, residency_reason="", clocks=clocks, clocks_reason=reason)


def tick(
    keeper: ClockKeeper, wanted: str | None, *statuses: DeviceStatus, now: float = NOON, **others: str
) -> dict[str, Clocks]:
    """One tick that wants the same of all these devices, or something else of those in ``others`` (``cuda1``)."""
    statuses = statuses or (a_device(),)
    keeper.look(statuses, now)
    keeper.act({one.id: a_want(others.get(one.id[9:].replace(":", ""), wanted)) for one in statuses}, now)
    return dict(keeper.views())


def words(gpus: StubGpus, uuid: str | None = None) -> list[tuple[str, int, int, int]]:
    return [call.words for call in gpus.calls() if uuid in {None, call.uuid}]


def unreachable(settings: Settings) -> redis.Redis:
    return connect(
        settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1")}), retries=0
    )


# --- what is wanted of one GPU


@pytest.mark.parametrize(
    ("wants", "foreign", "answer"),
    [
        ({"h/a": a_want("low", "idle")}, [], ("low", "idle")),
        ({"h/a": a_want("normal", "busy")}, [], ("normal", "busy")),
        ({"h/a": a_want("low", "idle"), "h/b": a_want("low", "idle, too")}, [], ("low", "idle")),
        ({"h/a": a_want("low"), "h/b": a_want("normal", "busy")}, [], ("normal", "h/b: busy")),
        ({"h/a": a_want("low"), "h/b": a_want(None)}, [], (None, "no clocks are ordered")),
        ({"h/a": a_want("low"), "h/b": None}, [], (None, "no clocks are ordered")),
        (
            {"h/a": a_want("low")},
            [77, 5],
            ("normal", "the GPU is also used by process 5, 77, which is not Stentor's"),
        ),
        ({}, [], ("normal", "no device uses it any more")),
    ],
)
def test_a_gpu_is_low_only_if_all_want_it(
    wants: dict[str, Want | None], foreign: Sequence[int], answer: tuple[str | None, str]
) -> None:
    assert gpu_clocks(wants, foreign) == answer


# --- lowering and giving back


def test_clocks_go_low_and_come_back(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    assert tick(keeper, "normal") == {
        "testhost/cuda:0": Clocks(state="normal", since=0.0, reason="as the test wants it")
    }
    assert words(gpus) == []
    low = tick(keeper, "low", now=NOON + 1)
    assert low == {"testhost/cuda:0": Clocks(state="low", since=NOON + 1, reason="as the test wants it")}
    assert client.hgetall(keys.clocks("testhost")) == {A: f'{{"since": {NOON + 1}, "pid": {os.getpid()}}}'}
    tick(keeper, "low", now=NOON + 2)
    assert words(gpus) == LOWERED
    assert tick(keeper, "normal", now=NOON + 3)["testhost/cuda:0"].since == NOON + 3
    assert words(gpus) == LOWERED + RESET
    assert client.hgetall(keys.clocks("testhost")) == {}
    assert words(gpus, B) == []


def test_low_clocks_save_what_the_ledger_says(keeper: ClockKeeper, gpus: StubGpus) -> None:
    gpus.context(A, 4_000_000, is_virtual=True)
    tick(keeper, "low")
    gpus.set_time(NOON + 1000)
    tick(keeper, "low", now=NOON + 1000)
    reading = keeper.readings()["testhost/cuda:0"]
    assert (reading.energy_j, reading.power_w, reading.sm_clock_mhz) == (18_000.0, 18.0, 210)
    tick(keeper, "normal", now=NOON + 1000)
    gpus.set_time(NOON + 2000)
    tick(keeper, "normal", now=NOON + 2000)
    assert keeper.readings()["testhost/cuda:0"].energy_j == 48_000.0


def test_what_an_administrator_locked_is_left_alone(keeper: ClockKeeper, gpus: StubGpus) -> None:
    gpus.lock_by_hand(A, 1515)
    tick(keeper, "normal")
    keeper.give_back("the test ends", NOON)
    assert (gpus.locks(A), words(gpus)) == ((1515, 0), [])


def test_two_devices_on_two_gpus_are_kept_apart(keeper: ClockKeeper, gpus: StubGpus) -> None:
    both = a_device(), a_device("cuda:1", B, pid=4_000_001)
    states = tick(keeper, "low", *both, cuda1="normal")
    assert {device: found.state for device, found in states.items()} == {
        "testhost/cuda:0": "low",
        "testhost/cuda:1": "normal",
    }
    tick(keeper, "low", *both)
    assert (gpus.locks(A), gpus.locks(B)) == ((210, 405), (210, 405))


def test_two_devices_on_one_gpu_must_both_want_it(keeper: ClockKeeper, gpus: StubGpus) -> None:
    both = a_device(), a_device("cuda:1", A, pid=4_000_001)
    states = tick(keeper, "low", *both, cuda1="normal")
    assert {found.reason for found in states.values()} == {"testhost/cuda:1: as the test wants it"}
    assert gpus.locks(A) == (0, 0)
    tick(keeper, "low", *both)
    assert gpus.locks(A) == (210, 405)
    tick(keeper, "normal", *both, cuda1="low")
    assert words(gpus) == LOWERED + RESET


def test_a_foreign_process_keeps_clocks_normal(keeper: ClockKeeper, gpus: StubGpus) -> None:
    gpus.context(A, 4_000_000, is_virtual=True)
    tick(keeper, "low")
    gpus.context(A, os.getpid())
    found = tick(keeper, "low", now=NOON + 1)["testhost/cuda:0"]
    assert found == Clocks(
        state="normal",
        since=NOON + 1,
        reason=f"the GPU is also used by process {os.getpid()}, which is not Stentor's",
    )
    gpus.context(A, os.getpid(), on=False)
    assert tick(keeper, "low", now=NOON + 2)["testhost/cuda:0"].state == "low"


def test_a_device_that_left_the_gpu_leaves_normal_clocks(keeper: ClockKeeper, gpus: StubGpus) -> None:
    tick(keeper, "low")
    tick(keeper, "low", a_device(gpu=None))
    assert words(gpus) == LOWERED + RESET


def test_devices_of_other_hosts_are_theirs(keeper: ClockKeeper, gpus: StubGpus) -> None:
    other = DeviceStatus(id="elsewhere/cuda:0", pid=1, state=DeviceState.IDLE, gpu=A, started_at=NOON, seen_at=NOON)
    keeper.look([other], NOON)
    keeper.act({other.id: a_want("low")}, NOON)
    assert (keeper.views(), words(gpus)) == ({}, [])


# --- whose contexts are whose


def proc_with(folder: Path, pid: int, *, status: str = "", cmdline: str = "") -> None:
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "status").write_text(status)
    (folder / str(pid) / "cmdline").write_text(cmdline)


def test_a_device_in_a_container_is_known_by_its_number_in_there(tmp_path: Path) -> None:
    device = a_device(pid=15)
    proc_with(tmp_path, 9015, status="Name:\tx\nNSpid:\t9015\t15\n", cmdline="celery\0--hostname=cuda-0@testhost\0")
    proc_with(tmp_path, 9016, status="NSpid:\t9016\t15\n", cmdline="somebody\0else\0")
    proc_with(tmp_path, 9017, status="NSpid:\t9017\n", cmdline="trainer\0")
    contexts = Contexts(tmp_path)
    contexts.note([device])
    assert contexts.foreign({9015, 9016, 9017}, [device]) == {9016, 9017}


def test_processes_that_cannot_be_seen_are_ours_as_far_as_devices_go(tmp_path: Path) -> None:
    contexts = Contexts(tmp_path)
    loaded, light = a_device(pid=15), a_device("cuda:1", pid=16, state=DeviceState.UNLOADED, model=None)
    contexts.note([loaded, light])
    assert contexts.foreign({9015}, [loaded, light]) == set()
    assert contexts.foreign({9015, 9016}, [loaded, light]) == {9015, 9016}
    assert contexts.foreign({9015}, [light]) == {9015}


def test_a_context_that_an_unloaded_device_left_is_told(
    keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis
) -> None:
    gpus.context(A, 4_000_000, is_virtual=True)
    tick(keeper, "normal")
    light = a_device(pid=4_000_001, state=DeviceState.UNLOADED, model=None)
    tick(keeper, "normal", light, now=NOON + 1)
    tick(keeper, "normal", light, now=NOON + 11)
    board = ClocksBoard(client)
    assert board.of(["testhost"])[light.id].context_left == ()
    tick(keeper, "normal", light, now=NOON + 12)
    assert board.of(["testhost"])[light.id].context_left == (4_000_000,)
    gpus.context(A, 4_000_000, on=False)
    tick(keeper, "normal", light, now=NOON + 13)
    assert board.of(["testhost"])[light.id].context_left == ()


# --- where clocks cannot be set


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (a_device("cpu", None), "the device is not a GPU"),
        (a_device(gpu=None), "its process could not ask NVML which GPU it uses"),
        (a_device(gpu="MIG-abc"), "the device is a slice of a GPU (MIG), and all slices share its clocks"),
        (a_device(gpu="GPU-unknown"), "the GPU does not answer"),
    ],
)
def test_a_device_without_clocks_says_why(
    keeper: ClockKeeper, gpus: StubGpus, device: DeviceStatus, reason: str
) -> None:
    tick(keeper, "low", device, now=NOON + 5)
    found = tick(keeper, "low", device, now=NOON + 6)
    assert found == {device.id: Clocks(state="unavailable", since=NOON + 5, reason=reason)}
    assert words(gpus) == []


def test_without_rights_it_says_so_once_and_goes_on(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    gpus.inject("set_gpu", NO_PERMISSION)
    for second in range(5):
        found = tick(keeper, "low", now=NOON + second)["testhost/cuda:0"]
    assert found.state == "unavailable"
    assert found.reason == f"The driver refused to set the clocks of {A}: Insufficient Permissions"
    assert words(gpus) == [("set_gpu", 210, 210, NO_PERMISSION)]
    assert client.hgetall(keys.clocks("testhost")) == {}
    assert keeper.readings()["testhost/cuda:0"].power_w == 8.0


def test_what_the_driver_would_not_do_just_now_is_tried_again(keeper: ClockKeeper, gpus: StubGpus) -> None:
    gpus.inject("set_gpu", UNKNOWN)
    assert tick(keeper, "low")["testhost/cuda:0"].state == "normal"
    gpus.inject("set_gpu", 0)
    tick(keeper, "low", now=NOON + LOWER_AGAIN_S - 1)
    assert len(words(gpus)) == 1
    assert tick(keeper, "low", now=NOON + LOWER_AGAIN_S + 1)["testhost/cuda:0"].state == "low"


def test_in_mig_mode_clocks_are_left_and_given_back(keeper: ClockKeeper, gpus: StubGpus) -> None:
    tick(keeper, "low")
    gpus.mig(A)
    found = tick(keeper, "low", now=NOON + 1)["testhost/cuda:0"]
    assert (found.state, gpus.locks(A)) == ("unavailable", (0, 0))
    assert "MIG" in found.reason


def test_without_a_driver_it_looks_again_later(keeper: ClockKeeper, gpus: StubGpus) -> None:
    gpus.inject("init", DRIVER_NOT_LOADED)
    found = tick(keeper, "low")["testhost/cuda:0"]
    assert found == Clocks(state="unavailable", since=NOON, reason="NVML does not answer: Driver Not Loaded")
    gpus.inject("init", 0)
    assert tick(keeper, "low", now=NOON + OPEN_AGAIN_S - 1)["testhost/cuda:0"].state == "unavailable"
    assert tick(keeper, "low", now=NOON + OPEN_AGAIN_S)["testhost/cuda:0"].state == "low"


def test_a_lost_gpu_comes_back_with_its_own_clocks(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    both = a_device(), a_device("cuda:1", B, pid=4_000_001)
    tick(keeper, "low", *both)
    gpus.lose(A)
    lost = tick(keeper, "low", *both, now=NOON + 1)
    assert {device: found.state for device, found in lost.items()} == {
        "testhost/cuda:0": "unavailable",
        "testhost/cuda:1": "low",
    }
    assert set(keeper.readings()) == {"testhost/cuda:1"}
    gpus.lose(A, False)
    back = tick(keeper, "normal", *both, now=NOON + OPEN_AGAIN_S + 1, cuda1="low")
    assert back["testhost/cuda:0"].state == "normal"
    assert words(gpus, A) == LOWERED + RESET
    assert set(client.hgetall(keys.clocks("testhost"))) == {B}


@pytest.mark.parametrize("refused", [False, True])
def test_what_a_driver_that_is_opened_again_may_have_forgotten_is_said_again(
    keeper: ClockKeeper, gpus: StubGpus, refused: bool
) -> None:
    both = a_device(), a_device("cuda:1", B, pid=4_000_001)
    tick(keeper, "low", *both)
    gpus.lose(A)
    tick(keeper, "low", *both, now=NOON + 1)
    gpus.lock_by_hand(B, 0, 0)  # as without persistence mode
    gpus.inject("set_gpu", UNKNOWN if refused else 0)
    tick(keeper, "low", *both, now=NOON + OPEN_AGAIN_S - 1)
    assert gpus.locks(B) == (0, 0)
    found = tick(keeper, "low", *both, now=NOON + OPEN_AGAIN_S + 1)["testhost/cuda:1"]
    assert (found.state, gpus.locks(B)) == (("normal", (0, 0)) if refused else ("low", (210, 405)))


# --- leases, and a Redis that is away


def test_what_an_earlier_run_left_low_is_reset_first(client: redis.Redis, settings: Settings, gpus: StubGpus) -> None:
    gpus.lock_by_hand(A, 210, 405)
    gpus.lock_by_hand(B, 1515)
    client.hset(keys.clocks("testhost"), A, "{}")
    keeper = ClockKeeper(client, settings)
    keeper.start(NOON)
    assert (gpus.locks(A), gpus.locks(B)) == ((0, 0), (1515, 0))
    keeper.look([a_device()], NOON)
    keeper.act({}, NOON)
    assert client.hgetall(keys.clocks("testhost")) == {}
    assert keeper.views()["testhost/cuda:0"] == Clocks(state="normal", since=NOON, reason="no clocks are ordered")


def test_what_cannot_be_reset_is_told_as_low_and_tried_again(
    client: redis.Redis, settings: Settings, gpus: StubGpus
) -> None:
    gpus.lock_by_hand(A, 210, 405)
    client.hset(keys.clocks("testhost"), A, "{}")
    gpus.inject("reset_gpu", UNKNOWN)
    keeper = ClockKeeper(client, settings)
    keeper.start(NOON)
    assert tick(keeper, "normal", now=NOON + 1)["testhost/cuda:0"].state == "low"
    assert set(client.hgetall(keys.clocks("testhost"))) == {A}
    gpus.inject("reset_gpu", 0)
    assert tick(keeper, "normal", now=NOON + 2)["testhost/cuda:0"].state == "normal"
    assert (gpus.locks(A), client.hgetall(keys.clocks("testhost"))) == ((0, 0), {})


def test_a_start_without_redis_resets_all(client: redis.Redis, settings: Settings, gpus: StubGpus) -> None:
    gpus.lock_by_hand(A, 210, 405)
    gpus.lock_by_hand(B, 210, 405)
    ClockKeeper(unreachable(settings), settings).start(NOON)
    assert (gpus.locks(A), gpus.locks(B)) == ((0, 0), (0, 0))


def test_nothing_is_lowered_that_no_lease_tells_of(settings: Settings, gpus: StubGpus) -> None:
    keeper = ClockKeeper(unreachable(settings), settings)
    with pytest.raises(RedisUnavailable):
        tick(keeper, "low")
    with pytest.raises(RedisUnavailable):
        keeper.act({"testhost/cuda:0": a_want("low")}, NOON)
    assert words(gpus) == []


def test_clocks_are_given_back_when_redis_stays_away(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    tick(keeper, "low")
    keeper.away(NOON + AWAY_GRACE_S - 0.1)
    assert words(gpus) == LOWERED
    keeper.away(NOON + AWAY_GRACE_S)
    keeper.away(NOON + AWAY_GRACE_S + 1)
    assert words(gpus) == LOWERED + RESET
    assert keeper.views()["testhost/cuda:0"].state == "normal"
    assert tick(keeper, "low", now=NOON + 60)["testhost/cuda:0"].state == "low"


def test_a_lease_that_somebody_ended_is_believed(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    tick(keeper, "low")
    client.delete(keys.clocks("testhost"))
    found = {}
    for second in range(1, 7):
        found = tick(keeper, None, now=NOON + second)
    assert found["testhost/cuda:0"].state == "normal"
    assert words(gpus) == LOWERED + RESET


def test_clocks_are_given_back_for_who_asks(
    keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis, settings: Settings
) -> None:
    tick(keeper, "low")
    assert give_back(client, settings) is True
    assert (gpus.locks(A), client.hgetall(keys.clocks("testhost"))) == ((0, 0), {})
    assert give_back(client, settings) is True
    assert words(gpus) == LOWERED + RESET


def test_what_is_not_given_back_is_not_hidden(
    keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis, settings: Settings
) -> None:
    tick(keeper, "low")
    gpus.inject("reset_gpu", NO_PERMISSION)
    assert give_back(client, settings) is False
    assert give_back(unreachable(settings), settings) is False
    gpus.inject("reset_gpu", 0)
    assert give_back(unreachable(settings), settings) is True


# --- whose devices they are


def test_pods_of_a_node_have_one_keeper_that_tells_their_gpus_apart(
    client: redis.Redis, settings: Settings, gpus: StubGpus
) -> None:
    """In Kubernetes each pod is a host, sees one GPU alone, and calls it ``cuda:0``."""
    first, second = (
        DeviceStatus(
            id=f"worker-{n}/cuda:0", gpu=gpu, pid=n, node="gpu-7", state=DeviceState.IDLE, started_at=NOON, seen_at=NOON
        )
        for n, gpu in enumerate((A, B))
    )
    elsewhere = DeviceStatus(
        id="worker-2/cuda:0", gpu="GPU-c", pid=9, node="gpu-8", state=DeviceState.IDLE, started_at=NOON, seen_at=NOON
    )
    pod = settings.model_copy(update={"host": "scheduler-x7k2p", "node": "gpu-7"})
    with contextlib.closing(ClockKeeper(client, pod)) as keeper:
        keeper.look([first, second, elsewhere], NOON)
        keeper.act({first.id: a_want("low"), second.id: a_want("normal"), elsewhere.id: a_want("low")}, NOON)
        assert {device: clocks.state for device, clocks in keeper.views().items()} == {
            "worker-0/cuda:0": "low",
            "worker-1/cuda:0": "normal",
        }
        assert set(client.hgetall(keys.clocks("gpu-7"))) == {A}
        assert set(ClocksBoard(client).of([first.machine])) == {first.id, second.id}
    assert gpus.locks(A) == (0, 0)


# --- the board


def test_the_board_tells_of_each_device(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    tick(keeper, "low", a_device(), a_device("cpu", None, pid=4_000_002))
    found = ClocksBoard(client).of(["testhost", "elsewhere"])
    assert set(found) == {"testhost/cuda:0", "testhost/cpu"}
    low, cpu = found["testhost/cuda:0"], found["testhost/cpu"]
    assert (low.state, low.since, low.reason, low.gpu) == ("low", NOON, "as the test wants it", A)
    assert (cpu.state, cpu.reason, cpu.gpu) == ("unavailable", "the device is not a GPU", None)
    assert 10 < client.ttl(keys.keeper("testhost")) <= 15


def test_the_board_is_written_anew_before_it_expires(keeper: ClockKeeper, gpus: StubGpus, client: redis.Redis) -> None:
    tick(keeper, "normal")
    client.delete(keys.keeper("testhost"))
    tick(keeper, "normal", now=NOON + 4)
    assert not client.exists(keys.keeper("testhost"))
    tick(keeper, "normal", now=NOON + 5)
    assert client.exists(keys.keeper("testhost"))


# --- the restorer


@contextlib.contextmanager
def restorers(gpus: StubGpus, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockRestorer]:
    for name, value in gpus.environ.items():
        monkeypatch.setenv(name, value)
    made = ClockRestorer()
    try:
        yield made
    finally:
        made.close()


def test_the_restorer_resets_what_it_heard_of_when_its_scheduler_is_gone(
    gpus: StubGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.lock_by_hand(A, 210, 405)
    gpus.lock_by_hand(B, 210, 405)
    with restorers(gpus, monkeypatch) as restorer:
        restorer.inform([])
        assert restorer.pid is None
        restorer.inform([A, B])
        restorer.inform([A])
        pid = restorer.pid
        assert pid != os.getpid()
    assert (gpus.locks(A), gpus.locks(B)) == ((0, 0), (210, 405))
    assert {call.pid for call in gpus.calls()} == {pid}


def test_a_restorer_of_nothing_touches_nothing(gpus: StubGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with restorers(gpus, monkeypatch) as restorer:
        restorer.inform([A])
        restorer.inform([])
    assert gpus.calls() == []


def test_a_restorer_that_dies_is_replaced(gpus: StubGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with restorers(gpus, monkeypatch) as restorer:
        restorer.inform([A])
        first = restorer.pid
        assert first is not None
        os.kill(first, 9)
        eventually(lambda: restorer.pid is None)
        restorer.inform([A])
        assert restorer.pid not in {None, first}
    assert [call.words for call in gpus.calls()] == RESET


def test_the_restorer_is_small_and_knows_no_secret(gpus: StubGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENTOR_REDIS_URL", "redis://secret")
    with restorers(gpus, monkeypatch) as restorer:
        restorer.inform([A])
        proc = Path("/proc") / str(restorer.pid)
        assert b"STENTOR_" not in eventually((proc / "environ").read_bytes)
        assert os.getsid(restorer.pid or 0) == restorer.pid
    code = (
        "import scheduler.clocks.restorer, sys; print(len({'redis', 'celery', 'boto3', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\n"


def test_after_a_silence_the_scheduler_knows_that_its_restorer_has_acted(
    keeper: ClockKeeper, gpus: StubGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(keeper, "low")
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert tick(keeper, None, now=NOON + 11)["testhost/cuda:0"].state == "normal"


def test_a_batch_on_a_busy_device_finds_normal_clocks(keeper: ClockKeeper, gpus: StubGpus) -> None:
    tick(keeper, "low")
    busy = a_device(state=DeviceState.BUSY)
    tick(keeper, "normal", busy, now=NOON + 1)
    assert gpus.locks(A) == (0, 0)
