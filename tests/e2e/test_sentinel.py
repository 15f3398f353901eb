"""Redis with sentinels: the master is killed under a backlog, another server takes over, and nothing is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from stentor.errors import StentorError
from tests.conftest import Measured
from tests.support.servers.sentinels import Trio, sentinels
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

TEXTS = 500


@pytest.fixture
def trio(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with sentinels(tmp_path_factory.mktemp("trio")) as made:
        yield made


@pytest.fixture
def rooms(trio: Trio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    near, logs = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")
    environ = {"STENTOR_REDIS_URL": trio.url, "STENTOR_REDIS_REPLICAS": "1", "STENTOR_SIMULATED": "l4*20"}
    with rooms_apart(near, logs, **environ) as made:
        for name in ("api", "device", "io", "scheduler"):
            made.start(name)
        eventually(made.ready, 60)
        yield made


@pytest.mark.slow
def test_a_master_that_is_killed_under_a_backlog_costs_no_text(trio: Trio, rooms: Rooms, measured: Measured) -> None:
    texts = [f"Parcel number {number} is ready at the counter." for number in range(TEXTS)]
    voice = "simulated-l4"
    with rooms.client() as client:
        ids = [job["id"] for job in client.submit_jobs([{"text": text, "voice": voice} for text in texts])]
        eventually(lambda: rooms.events("job_settled"))
        old = trio.master()
        trio.kill(old)
        killed = time.monotonic()
        before = len(rooms.events("job_settled"))
        assert before < TEXTS
        eventually(lambda: trio.master() != old, 60)
        chosen_s = time.monotonic() - killed
        late = _submitted(rooms, "This came in between.", voice)
        taken_s = time.monotonic() - killed
        settled = [client.settled_job(job_id, timeout_s=120) for job_id in [*ids, late]]
    measured(
        f"killed when {before} of {TEXTS} were spoken; another master after {chosen_s:.1f} s, "
        f"a text taken again after {taken_s:.1f} s"
    )
    assert {job["state"] for job in settled} == {"succeeded"}
    assert len({job["id"] for job in settled}) == TEXTS + 1


def _submitted(rooms: Rooms, text: str, voice: str) -> str:
    """The id of a text, tried until it is taken."""

    def taken() -> str:
        with contextlib.suppress(StentorError), rooms.client() as client:
            return client.submit_jobs([{"text": text, "voice": voice}])[0]["id"]
        return ""

    return eventually(taken, 60)
