"""What a waiting text costs Redis, and whether claiming is slower the more of them wait.

Run with ``python -m tests.bench.depth [DEPTH...]``. A real Valkey of its own, durability on; texts go in through
``JobStore.submit`` in lists of 1,000, as the API puts them in, and out through ``Claims.claim``, as a device does.
A million texts take about 2 GB of memory, and as much disk for the append-only file.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from stentor.jobs.job import Job, JobState, Outcome, Priority, new_id
from stentor.jobs.lanes import Lane
from stentor.jobs.store import Backlog, JobStore
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.speech import SpeechParams
from tests.bench.engine import cpu_name, texts
from tests.support.servers.neighbours import neighbours
from worker.claiming.claims import Claims

DEPTHS = (1_000, 100_000, 1_000_000)
LIST = 1_000
#: Claims that are timed at each depth, and texts of each: about what one pass on two cores takes.
CLAIMS, CLAIM = 20, 16
#: A million different texts would only measure the making of texts.
DIFFERENT = 5_000


def run(depths: Sequence[int] = DEPTHS) -> dict[str, Any]:
    """Bytes per waiting text, and the time of a claim and of a look at all lanes, at each depth."""
    with (
        tempfile.TemporaryDirectory(prefix="stentor-depth-") as folder,
        neighbours(Path(folder)) as near,
    ):
        settings = Settings.from_environ(near.environ)
        # While the append-only file is rewritten, Valkey may answer late.
        client = connect(settings, answer_timeout_s=60)
        bench = _Bench(client, settings)
        rows = [bench.at(depth) for depth in depths]
        client.close()
    return {"cpu": cpu_name(), "claim": CLAIM, "depths": rows}


class _Bench:
    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._store = JobStore(client, retention_s=settings.retention_s)
        self._backlog = Backlog(client, lease_s=settings.lease_s)
        self._claims = Claims(client, settings, "bench/cpu")
        self._jobs = _jobs()
        self._waiting: Counter[str] = Counter()

    def at(self, depth: int) -> dict[str, Any]:
        """Fill up to this depth and measure."""
        before_bytes, wanted = self._used_bytes(), depth - self._waiting.total()
        began = time.perf_counter()
        for size in [LIST] * (wanted // LIST) + [wanted % LIST] * bool(wanted % LIST):
            part = list(itertools.islice(self._jobs, size))
            self._store.submit(part)
            self._waiting.update(job.lane for job in part)
        submit_s = time.perf_counter() - began
        per_text = (self._used_bytes() - before_bytes) / wanted
        self._wait_for_calm()
        looks_s = [_timed(self._backlog.lanes) for _ in range(CLAIMS)]
        claims_s, inside_s = self._claim_repeatedly()
        return {
            "depth": depth,
            "bytes_per_text": per_text,
            "submitted_per_s": wanted / submit_s,
            "claims_per_s": CLAIM * CLAIMS / sum(claims_s),
            "claim_median_ms": statistics.median(claims_s) * 1000,
            "claim_max_ms": max(claims_s) * 1000,
            "claim_inside_ms": statistics.median(inside_s) * 1000,
            "look_median_ms": statistics.median(looks_s) * 1000,
        }

    def _claim_repeatedly(self) -> tuple[list[float], list[float]]:
        """How long each claim took, and how much of that Valkey spent in its scripts: without the network and fsync.

        What was claimed is settled, so that at each depth as little is in ready.
        """
        (lane_key, _), *_ = self._waiting.most_common(1)
        lane = Lane.from_key(lane_key)
        took_s, inside_s = [], []
        for _ in range(CLAIMS):
            before_s = self._script_s()
            began = time.perf_counter()
            claimed = self._claims.claim(lane, CLAIM)
            took_s.append(time.perf_counter() - began)
            inside_s.append(self._script_s() - before_s)
            assert len(claimed) == CLAIM, f"{len(claimed)} claimed, {CLAIM} wanted"
            for claim in claimed:
                assert self._claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 1.0}))
            self._waiting[lane_key] -= CLAIM
        return took_s, inside_s

    def _script_s(self) -> float:
        """Time that Valkey has spent in scripts."""
        return int(self._client.info("commandstats")["cmdstat_evalsha"]["usec"]) / 1e6

    def _wait_for_calm(self) -> None:
        """Wait for the append-only file's rewriting, which takes a core and copies pages as they are written to."""
        while self._client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.2)

    def _used_bytes(self) -> int:
        return int(self._client.info("memory")["used_memory"])


def _jobs() -> Iterator[Job]:
    """Jobs as the API makes them of shop notices of 20 to 200 characters."""
    for seed, text in enumerate(itertools.cycle(texts(DIFFERENT))):
        lane = Lane.of(model="joe", priority="bulk", text_chars=len(text)).key
        yield Job(
            id=new_id(),
            owner="bench",
            text=text,
            speech=SpeechParams(voice="joe", seed=seed),
            model="joe",
            lane=lane,
            priority=Priority.BULK,
        )


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(f"\n{result['cpu']}; a claim takes {result['claim']} texts")
    print(
        f"{'waiting':>9} {'bytes/text':>10} {'submitted/s':>11} {'claimed/s':>9} "
        f"{'claim, ms':>9} {'at most':>8} {'inside':>8} {'look, ms':>8}"
    )
    for row in result["depths"]:
        print(
            f"{row['depth']:>9,} {row['bytes_per_text']:>10.0f} {row['submitted_per_s']:>11.0f} "
            f"{row['claims_per_s']:>9.0f} {row['claim_median_ms']:>9.2f} {row['claim_max_ms']:>8.2f} "
            f"{row['claim_inside_ms']:>8.2f} {row['look_median_ms']:>8.2f}"
        )


if __name__ == "__main__":
    report(run([int(depth) for depth in sys.argv[1:]] or DEPTHS))
