"""What a large bulk costs: how soon a file is checked and accepted, and how much memory every process takes.

Run with ``python -m tests.bench.bulk``. All rooms, Valkey and S3 are real processes; the device is a simulated GPU
whose clock runs fast. ``ROWS`` rows have ``DISTINCT`` texts, so that most rows have the audio of an equal one: what is
measured is the way of a row through S3, lanes, Redis and the manifest, and not how fast audio is stored. The bulk of
``CHECKED_ROWS`` is only checked: its texts are all different.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from stentor.redis.client import connect
from tests.bench.engine import cpu_name
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

ROWS = int(os.environ.get("BENCH_BULK_ROWS", "1000000"))
DISTINCT = int(os.environ.get("BENCH_BULK_DISTINCT", "20000"))
CHECKED_ROWS = 100_000
GPU = "l4*1000"
SAMPLE_EVERY_S = 0.5
#: How long the whole may take, in seconds.
PATIENCE_S = 3000
_WORDS = ("the", "shop", "opens", "at", "nine", "and", "fresh", "bread", "is", "in", "aisle", "seven", "parcel")


def write_csv(path: Path, rows: int, distinct: int, *, words: int) -> int:
    """A file of so many rows; its size in bytes."""
    rng = random.Random(7)
    texts = [f"{' '.join(rng.choices(_WORDS, k=words))} {number}." for number in range(distinct)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "order"))
        for row in range(rows):
            writer.writerow((f"n-{row + 1}", texts[row % distinct], row + 1))
    return path.stat().st_size


class Memory:
    """The most that each process and Redis took, looked at twice a second."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.first: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def __enter__(self) -> Memory:
        self.first = self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            for name, size in self._look().items():
                self.most[name] = max(size, self.most.get(name, 0))

    def _look(self) -> dict[str, int]:
        """Bytes by process: the largest of a room's processes, and what Redis says of itself."""
        found: dict[str, int] = {}
        for name, process in self._rooms.running.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                found[name] = max(_own_bytes(one) for one in [parent, *parent.children(recursive=True)])
        with contextlib.closing(connect(self._rooms.settings)) as client:
            found["redis"] = int(client.info("memory")["used_memory"])
        return found

    def rise_mb(self) -> dict[str, float]:
        """By how much each grew beyond what it took before, in MB."""
        return {name: round((size - self.first.get(name, 0)) / 1e6, 1) for name, size in self.most.items()}


def _own_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


@contextlib.contextmanager
def running() -> Iterator[Rooms]:
    """All rooms, ready."""
    environ = {
        "STENTOR_SIMULATED": GPU,
        "STENTOR_DEFAULT_VOICE": "simulated-l4",
        "STENTOR_LOG_LEVEL": "warning",
        "STENTOR_BULK_WAIT_S": "600",
    }
    with tempfile.TemporaryDirectory() as folder, rooms_apart(Path(folder) / "data", Path(folder), **environ) as rooms:
        for name in ("api", "device", "io", "scheduler"):
            rooms.start(name)
        eventually(rooms.ready, 60)
        yield rooms


def submitted(rooms: Rooms, path: Path, **fields: str) -> tuple[dict[str, Any], float]:
    """The bulk of a file, and how long the request took, in seconds."""
    started = time.monotonic()
    with path.open("rb") as file:
        answer = httpx.post(
            f"{rooms.url}/v1/bulks",
            headers={"Authorization": f"Bearer {rooms.key}"},
            files={"file": (path.name, file, "text/csv")},
            data=fields,
            timeout=900,
            trust_env=False,
        )
    assert answer.is_success, answer.text
    return answer.json(), time.monotonic() - started


def settled(rooms: Rooms, bulk_id: str) -> dict[str, Any]:
    """The bulk when it has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        bulk: dict[str, Any] = rooms.http("GET", f"/v1/bulks/{bulk_id}").json()
        if bulk["state"] in {"succeeded", "failed", "canceled"}:
            return bulk
        assert time.monotonic() < deadline, bulk
        print(f"  {bulk['state']}: {bulk['counts']}, {bulk['rows_per_s']} rows per s", flush=True)
        time.sleep(5)


def read_manifest(rooms: Rooms, bulk_id: str) -> dict[str, Any]:
    """The manifest, read as it comes: how many lines, whether in order, and what they say."""
    started = time.monotonic()
    states: dict[str, int] = {}
    wanted = 1
    with httpx.stream(
        "GET",
        f"{rooms.url}/v1/bulks/{bulk_id}/manifest.jsonl",
        headers={"Authorization": f"Bearer {rooms.key}"},
        timeout=600,
        trust_env=False,
    ) as answer:
        for line in answer.iter_lines():
            entry = json.loads(line)
            assert entry["row"] == wanted, (entry["row"], wanted)
            wanted += 1
            states[entry["state"]] = states.get(entry["state"], 0) + 1
    return {"rows": wanted - 1, "in_order": True, "states": states, "took_s": round(time.monotonic() - started, 1)}


def run() -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder, running() as rooms:
        checked = Path(folder) / "checked.csv"
        checked_bytes = write_csv(checked, CHECKED_ROWS, CHECKED_ROWS, words=10)
        accepted, accepted_s = submitted(rooms, checked)
        rooms.http("POST", f"/v1/bulks/{accepted['id']}/cancel")
        print(f"{CHECKED_ROWS} rows checked and accepted in {accepted_s:.1f} s", flush=True)

        large = Path(folder) / "large.csv"
        large_bytes = write_csv(large, ROWS, DISTINCT, words=2)
        eventually(lambda: rooms.http("GET", f"/v1/bulks/{accepted['id']}").json()["counts"]["running"] == 0, 60)
        with Memory(rooms) as memory:
            started = time.monotonic()
            bulk, large_accepted_s = submitted(rooms, large)
            bulk = settled(rooms, bulk["id"])
            took_s = time.monotonic() - started
            manifest = read_manifest(rooms, bulk["id"])
        return {
            "cpu": cpu_name(),
            "checked": {"rows": CHECKED_ROWS, "bytes": checked_bytes, "accepted_s": round(accepted_s, 2)},
            "large": {
                "rows": ROWS,
                "distinct": DISTINCT,
                "bytes": large_bytes,
                "accepted_s": round(large_accepted_s, 1),
                "took_s": round(took_s, 1),
                "counts": bulk["counts"],
                "rise_mb": memory.rise_mb(),
                "before_mb": {name: round(size / 1e6, 1) for name, size in memory.first.items()},
                "manifest": manifest,
            },
        }


def report(result: dict[str, Any]) -> None:
    """Print the figures."""
    checked, large = result["checked"], result["large"]
    print(f"{checked['rows']} rows ({checked['bytes'] / 1e6:.1f} MB) checked and accepted in {checked['accepted_s']} s")
    print(f"{large['rows']} rows accepted in {large['accepted_s']} s, all with their outcome after {large['took_s']} s")
    for name, mb in large["rise_mb"].items():
        print(f"  {name:<10} {large['before_mb'].get(name, 0):8.1f} MB before, at most {mb:8.1f} MB more")
    print(f"manifest: {large['manifest']}")


if __name__ == "__main__":
    report(run())
