"""Windows on the clock of this machine: the model leaves and comes back, and nobody waits longer than for its load."""

from __future__ import annotations

import contextlib
import datetime
import math
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from stentor.client.types import JobJson
from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.redis.client import connect
from tests.conftest import Measured
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

#: What the process may hold that takes the place of one with a model (issue 5).
LIGHT_BYTES = 150e6
#: A text in a window waits for the load and this long, in seconds (issue 5). The assertion allows twice as much, for
#: machines that are busy with other things.
BESIDE_LOAD_S = 1.0
#: How soon held bulk starts when its scheduler was killed, in seconds: the hold is good for 15. Allowed twice, too.
HOLD_ENDS_S = 20.0
#: The window that ends begins so soon after it was written, holds bulk for so long, and has the model loaded again so
#: long before its end, in seconds: the last two at least, and more where loading takes its time.
BEGINS_IN_S, HELD_S, PREWARM_S = 3, 8, 8


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """An API and a device with the real voice; each test starts its scheduler."""
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")) as made:
        made.start("api")
        made.start("device")
        eventually(lambda: device(made).state == DeviceState.IDLE, 180)
        eventually(made.ready, 60)
        yield made


def window(begins_at: float, ends_at: float) -> str:
    """That span of today in the words of the setting."""
    begins, ends = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (begins_at, ends_at))
    return f"{begins:%H:%M:%S}-{ends:%H:%M:%S} UTC"


@contextlib.contextmanager
def scheduler(rooms: Rooms, windows: str, **environ: str) -> Iterator[None]:
    """A scheduler with these windows that unloads soon."""
    quick = {"STENTOR_UNLOAD_GRACE_S": "1", "STENTOR_DWELL_S": "0"}
    rooms.start("scheduler", **quick, STENTOR_UNLOAD_WINDOWS=windows, **environ)
    try:
        yield
    finally:
        running = rooms.running.pop("scheduler", None)
        if running is not None:
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0


def night(rooms: Rooms, **environ: str) -> contextlib.AbstractContextManager[None]:
    """A scheduler in the middle of a long window."""
    return scheduler(rooms, window(time.time() - 60, time.time() + 3600), **environ)


def device(rooms: Rooms) -> DeviceStatus:
    with contextlib.closing(connect(rooms.settings)) as client:
        found = eventually(DeviceRegistry(client, lease_s=60).list, 180)
    return found[0]


def submit(rooms: Rooms, text: str, priority: str) -> str:
    with rooms.client() as client:
        return client.submit_job({"text": text, "priority": priority, "cache": False})["id"]


def spoken(rooms: Rooms, job_id: str) -> JobJson:
    (job,) = rooms.settled([job_id])
    assert (job["state"], job["attempts"]) == ("succeeded", 1)
    return job


def say(rooms: Rooms, text: str) -> JobJson:
    return spoken(rooms, submit(rooms, text, "interactive"))


def at(moment: str | None) -> float:
    return datetime.datetime.fromisoformat(moment or "").timestamp()


def awake(rooms: Rooms) -> int:
    """The process that has the model, which it is made to load."""
    say(rooms, "Good evening.")
    return int(device(rooms).pid)


def asleep(rooms: Rooms, old: int) -> DeviceStatus:
    """The device when the process that had the model is gone and another one has taken its place."""

    def look() -> DeviceStatus | None:
        seen = device(rooms)
        return seen if seen.state == DeviceState.UNLOADED and seen.pid != old and not psutil.pid_exists(old) else None

    found = eventually(look, 60)
    assert found is not None
    return found


def test_the_model_leaves_for_good_and_a_text_waits_for_its_load_only(rooms: Rooms, measured: Measured) -> None:
    old = awake(rooms)
    with night(rooms):
        light_bytes = psutil.Process(asleep(rooms, old).pid).memory_info().rss
        job = say(rooms, "The night counter is open.")
        # By now the device may have left again, and tell of no load.
        load_s, wait_s = rooms.events("model_loaded")[-1]["took_s"], at(job["settled_at"]) - at(job["created_at"])
    measured(f"the successor holds {light_bytes / 1e6:.0f} MB; a text took {wait_s:.2f} s, its load {load_s:.2f} s")
    assert light_bytes < LIGHT_BYTES
    assert wait_s <= 2 * (load_s + BESIDE_LOAD_S)
    assert rooms.errors() == []


def test_bulk_waits_for_the_window_to_end_and_finds_the_model_back(rooms: Rooms, measured: Measured) -> None:
    old = awake(rooms)
    load_s = device(rooms).load_s or 0.0
    held_s, prewarm_s = math.ceil(max(HELD_S, 2 * load_s)), math.ceil(max(PREWARM_S, 3 * load_s))
    begins_at = math.ceil(time.time()) + BEGINS_IN_S
    ends_at = begins_at + held_s + prewarm_s
    with scheduler(rooms, window(begins_at, ends_at), STENTOR_PREWARM_S=str(prewarm_s)):
        light = asleep(rooms, old)
        assert light.started_at >= begins_at
        job = spoken(rooms, submit(rooms, "Nobody waits for this.", "bulk"))
        back = eventually(
            lambda: seen if (seen := device(rooms)).state in {DeviceState.IDLE, DeviceState.BUSY} else None, 60
        )
        assert back is not None
        assert back.loaded_at is not None
    measured(f"the model was back {ends_at - back.loaded_at:.1f} s before the window ended")
    assert back.pid == light.pid
    assert ends_at - prewarm_s <= back.loaded_at < ends_at
    assert at(job["started_at"]) >= ends_at - prewarm_s


@pytest.mark.slow
def test_bulk_brings_the_model_back_where_it_is_to_run(rooms: Rooms) -> None:
    old = awake(rooms)
    with night(rooms, STENTOR_WINDOW_BULK="run"):
        asleep(rooms, old)
        spoken(rooms, submit(rooms, "This runs at night.", "bulk"))


@pytest.mark.slow
def test_a_redis_that_was_away_in_a_window_has_nothing_unloaded_twice(rooms: Rooms) -> None:
    def unloads() -> int:
        return len(rooms.events("device_unloads"))

    def bounce() -> None:
        rooms.near.kill("valkey")
        rooms.near.start("valkey")

    before, old = unloads(), awake(rooms)
    with night(rooms):
        light = asleep(rooms, old)
        bounce()
        say(rooms, "Redis was away while nothing was loaded.")
        eventually(lambda: unloads() == before + 2, 60)
        # Its process ends without Redis, or the next one starts without.
        bounce()
        light = asleep(rooms, light.pid)
        loads = len(rooms.events("model_loaded"))
        say(rooms, "Redis was away when the model left.")
        assert len(rooms.events("model_loaded")) == loads + 1
        asleep(rooms, light.pid)
        assert unloads() == before + 3


@pytest.mark.slow
def test_when_the_scheduler_is_killed_in_a_window_speech_goes_on_and_held_bulk_soon_starts(
    rooms: Rooms, measured: Measured
) -> None:
    old = awake(rooms)
    with night(rooms):
        light = asleep(rooms, old)
        held = submit(rooms, "This is held.", "bulk")
        rooms.kill("scheduler")
        killed_at = time.time()
        urgent = say(rooms, "Somebody waits for this.")
        job = spoken(rooms, held)
    starts_s = at(job["started_at"]) - killed_at
    measured(f"held bulk started {starts_s:.1f} s after its scheduler was killed")
    assert at(urgent["settled_at"]) < at(job["started_at"])
    assert starts_s <= 2 * HOLD_ENDS_S
    assert device(rooms).pid == light.pid
