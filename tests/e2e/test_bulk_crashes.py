"""Whatever dies while a bulk runs, each of its rows has one outcome, and only what is poison fails."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stentor.storage.s3 import Storage
from tests.poison.stentor_poison import POISON
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = pytest.mark.faults

#: A kill comes whenever this many further rows are spoken.
ROWS_A_KILL = 150
POISON_DIR = str(Path(__file__).parents[1] / "poison")
ENVIRON = {
    "PYTHONPATH": os.pathsep.join([POISON_DIR, *filter(None, [os.environ.get("PYTHONPATH")])]),
    "STENTOR_DEFAULT_VOICE": POISON,
    "STENTOR_LEASE_S": "8",
    "STENTOR_RING_AFTER_S": "2",
    "STENTOR_BATCH_DEADLINE_S": "3",
    "STENTOR_BULK_WINDOW": "300",
    "STENTOR_BULK_WAIT_S": "5",
}


@pytest.fixture
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs"), **ENVIRON) as made:
        for name in ("api", "device", "io", "scheduler"):
            made.start(name)
        eventually(made.ready, 60)
        yield made


def a_file(rows: int) -> bytes:
    """A CSV file; the row in the middle ends the process that speaks it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("id", "text"))
    for row in range(1, rows + 1):
        writer.writerow((f"n{row}", "This is a segfault." if row == rows // 2 else f"Notice {row}: we close at eight."))
    return out.getvalue().encode()


def submitted(rooms: Rooms, rows: int) -> str:
    answer = rooms.http("POST", "/v1/bulks", files={"file": ("notices.csv", a_file(rows), "text/csv")})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(rooms: Rooms, bulk_id: str) -> dict[str, Any]:
    answer = rooms.http("GET", f"/v1/bulks/{bulk_id}")
    return dict(answer.json()) if answer.status_code == 200 else {"state": "away", "counts": {"succeeded": -1}}


def wait_for(rooms: Rooms, bulk_id: str, succeeded: int) -> None:
    def there() -> bool:
        try:
            return int(look(rooms, bulk_id)["counts"]["succeeded"]) >= succeeded
        except httpx.TransportError:
            return False

    eventually(there, 120)


def kill_whole(rooms: Rooms, name: str) -> None:
    """Kill all processes of a room with SIGKILL, and start it anew."""
    parent = psutil.Process(rooms.running[name].pid)
    family = [parent, *parent.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGKILL)
    rooms.running.pop(name).wait()
    psutil.wait_procs(family[1:], timeout=10)
    rooms.start(name)


@pytest.mark.parametrize(
    ("killed", "rows"),
    [
        (("io", "device"), 400),
        pytest.param(("io", "device", "api", "scheduler", "io", "valkey", "s3"), 2400, marks=pytest.mark.slow),
    ],
    ids=["workers", "everything"],
)
def test_kill_9_in_turn_loses_no_row_of_a_bulk(rooms: Rooms, killed: tuple[str, ...], rows: int) -> None:
    bulk_id = submitted(rooms, rows)
    for step, name in enumerate(killed, start=1):
        wait_for(rooms, bulk_id, ROWS_A_KILL * step)
        if name in rooms.running:
            kill_whole(rooms, name)
        else:
            rooms.near.kill(name)
            rooms.near.start(name)
    wait_for(rooms, bulk_id, rows - 1)
    eventually(lambda: look(rooms, bulk_id)["state"] == "succeeded", 120)
    counts = look(rooms, bulk_id)["counts"]
    assert (counts["rows"], counts["succeeded"], counts["failed"], counts["canceled"]) == (rows, rows - 1, 1, 0)
    body = rooms.http("GET", f"/v1/bulks/{bulk_id}/manifest.jsonl").content
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["row"] for line in lines] == list(range(1, rows + 1))
    assert [line["id"] for line in lines] == [f"n{row}" for row in range(1, rows + 1)]
    bad = [line for line in lines if line["state"] != "succeeded"]
    assert [(line["row"], line["error_code"]) for line in bad] == [(rows // 2, "engine_crashed")]
    storage = Storage(rooms.settings)
    with ThreadPoolExecutor(4) as pool:
        good = [line for line in lines if line["state"] == "succeeded"]
        digests = list(pool.map(lambda line: hashlib.sha256(storage.get(line["audio_key"])).hexdigest(), good))
    assert digests == [line["sha256"] for line in good]


def test_a_file_whose_check_is_killed_is_checked_again(rooms: Rooms) -> None:
    """The word about it is lost with the worker; whoever feeds sees that nobody is at it."""
    rooms.running["io"].send_signal(signal.SIGSTOP)
    for child in psutil.Process(rooms.running["io"].pid).children():
        child.send_signal(signal.SIGSTOP)
    try:
        answer = rooms.http("POST", "/v1/bulks", files={"file": ("notices.csv", a_file(2400), "text/csv")})
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "checking"
    finally:
        kill_whole(rooms, "io")
    bulk_id = answer.json()["id"]
    eventually(lambda: look(rooms, bulk_id)["state"] in {"waiting", "running", "succeeded"}, 60)
