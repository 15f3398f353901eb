"""What the queue makes of a GPU: Stentor beside one text per Celery task and ``celery-batches``, on a simulated GPU.

Run with ``python -m tests.bench.queue``. Valkey, S3 and ``stentor worker`` are real. The GPU is simulated: an NVIDIA L4
with Qwen3-TTS (see ``worker/engines/simulated/gpus.py``) whose clock runs ``SCALE`` times as fast, so that a backlog of
a quarter of an hour takes one and a half minutes. What is not the GPU does not run faster: the queue, Redis and S3 have
a tenth of the time that they would have beside the real one. All figures are those of the fast clock unless they say
"GPU time".
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from stentor.doorbell import Doorbell, create_celery
from stentor.jobs.job import Job, JobState, Priority, new_id
from stentor.jobs.lanes import Lane
from stentor.jobs.records import read_job
from stentor.jobs.store import JobStore
from stentor.redis import keys
from stentor.redis.client import connect, text_map
from stentor.settings import Settings
from stentor.speech import SpeechParams
from stentor.storage.s3 import Storage
from tests.bench.engine import cpu_name
from tests.support.servers.neighbours import RunningNeighbours, neighbours
from tests.support.stacks.stack import eventually
from worker.batching.segments import split
from worker.engines.simulated.engine import CHARS_PER_S, SimulatedEngine
from worker.engines.simulated.gpus import GPUS, Gpu

ROOT = Path(__file__).parents[2]
GPU, SCALE = GPUS["l4"], 10
MODEL = SimulatedEngine(GPU).model
OWNER = "bench"
#: Texts that wait: for Stentor, for one text per task (whose pace does not depend on how many there are), for batches.
BACKLOG, ONE_BACKLOG, MANY_BACKLOG = 5000, 150, 800
#: Everybody has a turn, and then again in the opposite order.
ROUNDS = 2
#: Texts of the scenario ``mixed``: bulk ones that wait, and interactive ones, one per second of GPU time.
BULK, INTERACTIVE = 20_000, 300
#: Characters of a text: log-normal, as lengths of sentences are, with this median, and cut off at both ends.
MEDIAN_CHARS, SPREAD = 40, 0.7
INTERACTIVE_MEDIAN_CHARS, INTERACTIVE_SPREAD = 28, 0.3
SHORTEST_CHARS, LONGEST_CHARS = 4, 300
_WORDS = ("the", "shop", "opens", "at", "nine", "and", "fresh", "bread", "is", "in", "aisle", "seven")


def texts(count: int, *, median: float = MEDIAN_CHARS, spread: float = SPREAD, seed: int = 7) -> list[str]:
    """Texts of 4 to 300 characters; the same for the same arguments."""
    rng = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        chars = round(rng.lognormvariate(math.log(median), spread))
        if SHORTEST_CHARS <= chars <= LONGEST_CHARS:
            words = " ".join(rng.choices(_WORDS, k=chars))
            found.append(words[: chars - 1].strip().ljust(chars - 1, "e") + ".")
    return found


class Bench:
    """The neighbours, and what runs beside them."""

    def __init__(self, near: RunningNeighbours, folder: Path) -> None:
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")},
            **near.environ,
            "STENTOR_HOST": "bench",
            "STENTOR_SIMULATED": f"{GPU.name}*{SCALE}",
            "STENTOR_DEFAULT_VOICE": MODEL,
        }
        self.settings = Settings.from_environ(self.environ)
        self.client = connect(self.settings)
        self.store = JobStore(self.client, retention_s=self.settings.retention_s)
        self.bell = Doorbell(create_celery(self.settings), self.client)
        self.folder = folder
        Storage(self.settings).ensure_bucket()

    @contextlib.contextmanager
    def running(self, *command: str, **environ: str) -> Iterator[Path]:
        """A process until the end of the block; where its log is."""
        path = self.folder / "process.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env=self.environ | environ, stdout=log, stderr=log, cwd=ROOT
            )
            try:
                yield path
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    def submit(self, mix: Sequence[str], priority: str) -> list[str]:
        """Put texts into their lanes; their ids."""
        jobs = [_job(text, seed, priority) for seed, text in enumerate(mix)]
        for at in range(0, len(jobs), 500):
            self.store.submit(jobs[at : at + 500])
        return [job.id for job in jobs]

    def spoken(self) -> int:
        """How many texts have their audio."""
        return int(self.client.zcard(keys.jobs(OWNER, JobState.SUCCEEDED)))


def _job(text: str, seed: int, priority: str) -> Job:
    # Each has a seed of its own, for else repeated texts would be spoken once.
    lane = Lane.of(model=MODEL, priority=priority, text_chars=len(text)).key
    return Job(
        id=new_id(),
        owner=OWNER,
        text=text,
        speech=SpeechParams(voice=MODEL, seed=seed),
        model=MODEL,
        lane=lane,
        priority=Priority(priority),
    )


def passes_of(log: Path) -> list[dict[str, Any]]:
    """The forward passes that a worker has logged, in order."""
    lines = (line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{"))
    events = [event for event in map(json.loads, lines) if event["action"] == "batch_spoken"]
    found = []
    for event in events:
        ended_s = datetime.fromisoformat(event["timestamp"]).timestamp()
        padded = round(event["cost"] / (1 - event["padding"]))
        found.append(
            {"id": event["batch_id"], "began_s": ended_s - event["took_s"], "ended_s": ended_s, "texts": event["jobs"],
             "cost": event["cost"], "padded": padded}
        )  # fmt: skip
    return found


def figures(passes: Sequence[Mapping[str, Any]], texts: int) -> dict[str, float]:
    """What a run of passes over so many texts comes to."""
    span_s = passes[-1]["ended_s"] - passes[0]["began_s"]
    busy_s = sum(one["ended_s"] - one["began_s"] for one in passes)
    return {
        "texts": texts,
        "passes": len(passes),
        "span_s": span_s,
        "texts_per_s": texts / span_s,
        "busy": busy_s / span_s,
        "padding": 1 - sum(one["cost"] for one in passes) / sum(one["padded"] for one in passes),
        "batch_s": busy_s / len(passes),
        "gap_ms": 1000 * (span_s - busy_s) / max(1, len(passes) - 1),
    }


def stentor(bench: Bench) -> dict[str, float]:
    """A backlog through a real worker."""
    bench.client.flushall()
    bench.submit(texts(BACKLOG), "bulk")
    with bench.running("stentor.cli", "worker", "--device", "cpu") as log:
        eventually(lambda: bench.spoken() == BACKLOG, 600)
        return figures(passes_of(log), BACKLOG)


def peer(bench: Bench, task: str, count: int, flush_every: int = 1) -> dict[str, float]:
    """A backlog through Celery; with ``celery-batches``, as many messages as come are taken, so that none waits."""
    bench.client.flushall()
    broker = create_celery(bench.settings)
    broker.conf.broker_transport_options = {"global_keyprefix": "bench:celery:"}
    for text in texts(count):
        broker.send_task(task, args=[text], queue=task)
    broker.close()
    command = [
        "celery",
        "--quiet",
        "--app=tests.bench.celery_peers:app",
        "worker",
        f"--queues={task}",
        "--pool=prefork",
    ]
    options = ["--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    with bench.running(*command, *options, BENCH_FLUSH_EVERY=str(flush_every)):
        eventually(lambda: sum(one["texts"] for one in _noted(bench.client)) == count, 600)
        return figures(_noted(bench.client), count)


def _noted(client: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(str(line)) for line in client.lrange("bench:passes", 0, -1)]


def best_flush(gpu: Gpu, mix: Sequence[str]) -> int:
    """How many texts of first come, first served get most out of the GPU, by its curve, and always fit into it."""
    costs = [
        [round(len(piece) / CHARS_PER_S * gpu.units_per_s) for piece in split(text, gpu.segment_chars)] for text in mix
    ]

    def batches(count: int) -> list[list[int]]:
        return [[cost for text in costs[at : at + count] for cost in text] for at in range(0, len(costs), count)]

    def fits(count: int) -> bool:
        return all(gpu.batch_bytes(max(batch), len(batch)) <= gpu.memory_bytes for batch in batches(count))

    def took_s(count: int) -> float:
        return sum(gpu.batch_s(max(batch), len(batch)) for batch in batches(count))

    return min(filter(fits, range(1, 257)), key=took_s)


def mixed(bench: Bench, full_s: float) -> dict[str, float]:
    """Interactive texts beside a bulk backlog: how long each waits until it is spoken, and until it is stored.

    The unit is a batch of a backlog without interactive texts, which takes ``full_s``: beside them batches are shorter.
    """
    bench.client.flushall()
    bench.submit(texts(BULK), "bulk")
    with bench.running("stentor.cli", "worker", "--device", "cpu") as log:
        eventually(lambda: len(passes_of(log)) >= 5, 60)
        began_s = time.time()
        ids: list[str] = []
        mix = texts(INTERACTIVE, median=INTERACTIVE_MEDIAN_CHARS, spread=INTERACTIVE_SPREAD, seed=8)
        for number, text in enumerate(mix):
            time.sleep(max(0.0, began_s + number / SCALE - time.time()))
            ids += bench.submit([text], "interactive")
            bench.bell.ring()
        jobs = eventually(lambda: _settled(bench.client, ids), 60) or []
        assert bench.spoken() < BULK, "the bulk texts did not last"
        passes = [one for one in passes_of(log) if one["ended_s"] >= began_s]
    ended = {one["id"]: one["ended_s"] for one in passes}
    batch_s = statistics.mean(one["ended_s"] - one["began_s"] for one in passes)
    to_spoken = sorted(ended[job.batch_id or ""] - job.created_at for job in jobs)
    to_stored = sorted((job.settled_at or 0.0) - job.created_at for job in jobs)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    spoken = {f"spoken_{name}": _at(to_spoken, share) / full_s for name, share in shares.items()}
    stored = {f"stored_{name}": _at(to_stored, share) / full_s for name, share in shares.items()}
    return {"bulk": BULK, "interactive": len(jobs), "full_batch_s": full_s, "batch_s": batch_s, **spoken, **stored}


def _settled(client: redis.Redis, ids: Sequence[str]) -> list[Job] | None:
    pipe = client.pipeline(transaction=False)
    for job_id in ids:
        pipe.hgetall(keys.job(job_id))
    jobs = [read_job(text_map(fields)) for fields in pipe.execute()]
    return jobs if all(job.state == JobState.SUCCEEDED for job in jobs) else None


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def run() -> dict[str, Any]:
    """All runs and their ratios."""
    flush_every = best_flush(GPU, texts(MANY_BACKLOG))
    turns: dict[str, Callable[[Bench], dict[str, float]]] = {
        "stentor": stentor,
        "one": lambda bench: peer(bench, "bench.one", ONE_BACKLOG),
        "many": lambda bench: peer(bench, "bench.many", MANY_BACKLOG, flush_every),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
    with tempfile.TemporaryDirectory(prefix="stentor-bench-") as folder, neighbours(Path(folder) / "near") as near:
        bench = Bench(near, Path(folder))
        for number in range(ROUNDS):
            for name in list(turns)[:: -1 if number % 2 else 1]:
                found[name].append(turns[name](bench))
        beside = mixed(bench, statistics.mean(one["batch_s"] for one in found["stentor"]))
        bench.client.close()
    pace = {name: statistics.mean(one["texts_per_s"] for one in runs) for name, runs in found.items()}
    return {
        "cpu": cpu_name(),
        "gpu": GPU.name,
        "scale": SCALE,
        "flush_every": flush_every,
        "rounds": found,
        "ratio_one": pace["stentor"] / pace["one"],
        "ratio_many": pace["stentor"] / pace["many"],
        "mixed": beside,
    }


def report(result: dict[str, Any]) -> None:
    """Print the figures as tables."""
    names = {
        "stentor": "Stentor",
        "one": "Celery, one text per task",
        "many": f"celery-batches, flush_every {result['flush_every']}",
    }
    print(f"\nSimulated {result['gpu'].upper()}, its clock {result['scale']} times as fast; {result['cpu']}")
    print(
        f"{'':<34} {'texts':>6} {'passes':>6} {'texts/s':>8} {'GPU time':>8} {'busy':>6} {'padding':>7} {'gap ms':>6}"
    )
    for name, runs in result["rounds"].items():
        for one in runs:
            print(
                f"{names[name]:<34} {one['texts']:6.0f} {one['passes']:6.0f} {one['texts_per_s']:8.2f} "
                f"{one['texts_per_s'] / result['scale']:8.3f} {one['busy']:6.1%} {one['padding']:7.1%} "
                f"{one['gap_ms']:7.1f}"
            )
    print(f"Stentor to one text per task: {result['ratio_one']:.2f} (wanted: 8)")
    print(f"Stentor to celery-batches: {result['ratio_many']:.2f} (wanted: 1.2)")
    beside = result["mixed"]
    print(
        f"mixed: {beside['interactive']} interactive texts beside {beside['bulk']} bulk ones; batches of this run "
        f"{beside['batch_s']:.3f} s;\nwaits in units of a batch of bulk texts alone, {beside['full_batch_s']:.3f} s "
        "(P99 wanted: 2)"
    )
    for until in ("spoken", "stored"):
        print(
            f"  to {until}: " + ", ".join(f"{name} {beside[f'{until}_{name}']:.2f}" for name in ("p50", "p99", "max"))
        )


def main() -> None:
    """Run the bench and write ``bench-output/queue.json``."""
    result = run()
    report(result)
    output = ROOT / "bench-output"
    output.mkdir(exist_ok=True)
    (output / "queue.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
