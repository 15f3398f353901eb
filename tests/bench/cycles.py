"""Whether anything is lost when a model leaves its device and comes back, 200 times, while texts come all the time.

Run with ``python -m tests.bench.cycles [CYCLES]``. All rooms, Valkey and S3 are real processes; the device speaks
tones. By turns a person takes its process away in the middle of work, and the policy when it is idle.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from stentor.jobs.job import PRIORITIES
from tests.bench.engine import cpu_name
from tests.support.stacks.cycles import Cycles, Traffic, running, wait_s
from tests.support.stacks.rooms import Rooms

CYCLES = 200


def run(count: int = CYCLES, *, most_s: float = math.inf) -> dict[str, Any]:
    """What the cycles took, and how long texts waited; it fails if a text is lost, spoken twice or not whole."""
    with tempfile.TemporaryDirectory(prefix="stentor-cycles-") as folder, running(Path(folder)) as rooms:
        with Traffic(rooms) as traffic:
            cycles = Cycles(rooms, traffic)
            began_s, parent = time.monotonic(), _parent(rooms)
            cycles.run(count, lambda done: _progress(done, count), most_s=most_s)
            took_s, parent_after = time.monotonic() - began_s, _parent(rooms)
        jobs = cycles.checked()
        unloads = Counter(event["why"] for event in rooms.events("device_unloads"))
        return {
            "cpu": cpu_name(),
            "cycles": len(cycles.done),
            "took_s": took_s,
            "texts": len(jobs),
            "audio_s": sum(job["audio_s"] or 0.0 for job in jobs),
            "unloads": dict(unloads),
            "loads": len(rooms.events("model_loaded")),
            "declined": dict(Counter(event["reason"] for event in rooms.events("unload_declined"))),
            "given_back": len(rooms.events("given_back")),
            "down_s": {by: [one.down_s for one in cycles.done if one.by == by] for by in ("person", "policy")},
            "up_s": {by: [one.up_s for one in cycles.done if one.by == by] for by in ("person", "policy")},
            "wait_s": {
                priority: sorted(wait_s(job) for job in jobs if job["priority"] == priority) for priority in PRIORITIES
            },
            "parent": {"before": parent, "after": parent_after},
        }


def _progress(done: int, count: int) -> None:
    print(f"\r{done} of {count} cycles", end="\n" * (done == count), file=sys.stderr, flush=True)


def _parent(rooms: Rooms) -> dict[str, int]:
    """What the process that starts one device after the other holds."""
    process = psutil.Process(rooms.running["device"].pid)
    return {"open_files": process.num_fds(), "resident_bytes": process.memory_info().rss}


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(
        f"\n{result['cpu']}; {result['cycles']} cycles in {result['took_s']:.0f} s, {result['texts']:,} texts "
        f"({result['audio_s'] / 3600:.1f} h): each settled once, succeeded, whole"
    )
    print(f"processes that left: {result['unloads']}; loads: {result['loads']}; declined: {result['declined']}")
    print(f"{'seconds':<28} {'median':>7} {'at most':>8}")
    for what, name in (("down_s", "until it is gone"), ("up_s", "until the next has it")):
        for by, took_s in result[what].items():
            if took_s:
                print(f"{f'{by}: {name}':<28} {statistics.median(took_s):>7.2f} {max(took_s):>8.2f}")
    for priority, waited_s in result["wait_s"].items():
        if waited_s:
            print(f"{f'{priority} texts waited':<28} {statistics.median(waited_s):>7.2f} {waited_s[-1]:>8.2f}")
    before, after = result["parent"]["before"], result["parent"]["after"]
    print(
        f"the worker's parent: {before['open_files']} open files before, {after['open_files']} after; "
        f"{before['resident_bytes'] / 1e6:.0f} MB before, {after['resident_bytes'] / 1e6:.0f} MB after"
    )


if __name__ == "__main__":
    report(run(int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES))
