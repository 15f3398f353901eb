"""An API that is killed again and again while a client submits: everything is taken, and once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stentor.redis import keys
from stentor.redis.client import connect
from tests.conftest import register_voice
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

#: Texts in each list that is submitted.
TEXTS = 20


@pytest.fixture
def rooms(programs: None, tmp_path: Path) -> Iterator[Rooms]:
    with rooms_apart(tmp_path / "near", tmp_path, STENTOR_DEFAULT_VOICE="joe") as running:
        with contextlib.closing(connect(running.settings)) as client:
            register_voice(client, "joe")
        yield running


def kill_api(rooms: Rooms) -> None:
    """Kill the API and its processes at once, in the middle of whatever they do."""
    process = rooms.running.pop("api")
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family)


@pytest.mark.faults
@pytest.mark.parametrize(("lists", "kills"), [(40, 1), pytest.param(150, 4, marks=pytest.mark.slow)])
def test_what_is_submitted_while_the_api_is_killed_is_taken_once(rooms: Rooms, lists: int, kills: int) -> None:
    rooms.start("api")
    ids: list[str] = []
    failures: list[BaseException] = []

    def submit() -> None:
        try:
            with rooms.client() as client:
                for number in range(lists):
                    texts = [
                        {"text": f"text {at} of list {number}", "seed": number * TEXTS + at} for at in range(TEXTS)
                    ]
                    ids.extend(job["id"] for job in client.submit_jobs(texts))
        except BaseException as exc:  # noqa: BLE001 - told by the test
            failures.append(exc)

    sender = threading.Thread(target=submit)
    sender.start()
    for kill in range(kills):
        wanted = (kill + 1) * lists * TEXTS // (kills + 2)
        eventually(lambda wanted=wanted: len(ids) >= wanted or failures, 120)  # type: ignore[misc]
        kill_api(rooms)
        rooms.start("api")
    sender.join(180)
    assert failures == []
    assert len(set(ids)) == len(ids) == lists * TEXTS
    with contextlib.closing(connect(rooms.settings)) as client:
        assert set(client.zrange(keys.jobs("acme", keys.OPEN), 0, -1)) == set(ids)
        usage = keys.usage(str(next(iter(client.smembers(keys.users("acme"))))), int(time.time() // 86_400))
        characters = sum(len(f"text {at} of list {number}") for number in range(lists) for at in range(TEXTS))
        assert client.hget(usage, "characters") == str(characters)
