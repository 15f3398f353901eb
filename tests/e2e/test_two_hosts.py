"""Two devices on two hosts share one backlog; one vanishes, and the other finishes its work."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stentor.cli.exit_codes import CONFIGURATION
from tests.poison.stentor_poison import POISON
from tests.support.stacks.rooms import ROOMS, Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

ENVIRON = {
    "PYTHONPATH": str(Path(__file__).parents[1] / "poison"),
    "STENTOR_DEFAULT_VOICE": POISON,
    "STENTOR_HOST": "first",
    "STENTOR_LEASE_S": "4",
    "STENTOR_RING_AFTER_S": "1",
}


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs"), **ENVIRON) as made:
        for name in ROOMS:
            made.start(name)
        made.start("second", like="device", STENTOR_HOST="second")
        eventually(lambda: made.ready() and states(made) == {"first/cpu": "idle", "second/cpu": "idle"}, 60)
        yield made


def states(rooms: Rooms) -> dict[str, str]:
    return {device["id"]: device["state"] for device in rooms.http("GET", "/v1/devices").json()["devices"]}


def spoken_by(rooms: Rooms, name: str, ids: list[str]) -> int:
    return sum(event["job_id"] in ids for event in rooms.events("job_settled", name))


def test_both_take_their_part_and_no_text_is_spoken_twice(rooms: Rooms) -> None:
    ids = rooms.submit(*[f"Notice {number} is for everybody." for number in range(600)])
    jobs = rooms.settled(ids)
    assert Counter((job["state"], job["attempts"]) for job in jobs) == {("succeeded", 1): 600}
    shares = Counter(job["device"] for job in jobs)
    assert set(shares) == {"first/cpu", "second/cpu"}
    assert spoken_by(rooms, "device", ids) + spoken_by(rooms, "second", ids) == 600


def test_what_a_vanished_host_held_is_spoken_by_the_other_after_its_lease(rooms: Rooms) -> None:
    ids = rooms.submit(*[f"Notice {number} outlives its host." for number in range(600)])
    eventually(lambda: spoken_by(rooms, "second", ids) > 10, 30)
    parent = psutil.Process(rooms.running["second"].pid)
    for process in [parent, *parent.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)
    rooms.running.pop("second").wait()
    jobs = rooms.settled(ids)
    assert Counter(job["state"] for job in jobs) == {"succeeded": 600}
    assert max(job["attempts"] for job in jobs) <= 2
    assert spoken_by(rooms, "device", ids) + spoken_by(rooms, "second", ids) in range(595, 601)
    eventually(lambda: states(rooms) == {"first/cpu": "idle", "second/cpu": "gone"}, 30)


def test_a_second_worker_of_a_devices_name_ends_with_a_named_error_and_takes_nothing(rooms: Rooms) -> None:
    ids = rooms.submit(*[f"Notice {number} is held by the first." for number in range(400)])
    rooms.start("twin", like="device", STENTOR_HOST="first")
    assert rooms.running.pop("twin").wait(60) == CONFIGURATION
    [refused] = rooms.events("device_taken", "twin")
    assert refused["reason"].startswith("The device 'first/cpu' is taken: process ")
    jobs = rooms.settled(ids)
    assert Counter((job["state"], job["attempts"]) for job in jobs) == {("succeeded", 1): 400}
    assert states(rooms)["first/cpu"] in {"idle", "busy"}
