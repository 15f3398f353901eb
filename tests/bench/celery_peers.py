"""What the queue bench compares with: Celery with one text per task, and ``celery-batches``, on the same simulated GPU.

Neither stores anything, which Stentor does; a pass is only noted in Redis. The app is started by ``tests.bench.queue``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

import celery
from celery.signals import worker_process_init
from celery_batches import Batches, SimpleRequest

from stentor.redis.client import connect
from stentor.settings import Settings
from worker.batching.segments import split
from worker.engines.contract import Engine, Segment
from worker.engines.simulated import SimulatedFamily

#: Queues, and names of the tasks.
ONE, MANY = "bench.one", "bench.many"
#: List of passes, as JSON.
PASSES = "bench:passes"
#: How many texts ``celery-batches`` waits for, and where that is said.
FLUSH_VARIABLE = "BENCH_FLUSH_EVERY"
#: For how long it waits at most, in seconds: only the last batch of a backlog does.
FLUSH_INTERVAL_S = 1

settings = Settings.from_environ(os.environ)
flush_every = int(os.environ.get(FLUSH_VARIABLE, "1"))
app = celery.Celery("peers", broker=settings.redis_url.get_secret_value())
app.conf.update(
    broker_transport_options={"global_keyprefix": "bench:celery:"},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    # 0 takes as many messages as there are, so that a batch never waits for one. 4 is Celery's own default.
    worker_prefetch_multiplier=0 if flush_every > 1 else 4,
)


class Gpu:
    """The engine of this process, loaded, and a connection to note passes with."""

    engine: Engine
    client = connect(settings)


@worker_process_init.connect
def _load(**_: Any) -> None:
    (Gpu.engine,) = SimulatedFamily(settings).engines().values()
    Gpu.engine.load("cpu", None)


def speak(texts: Sequence[str]) -> None:
    """One forward pass; long texts are cut as Stentor cuts them."""
    voice = Gpu.engine.voices[0]
    limit = Gpu.engine.info.segment_chars
    rows = [Gpu.engine.prepare(Segment.of(piece, voice)) for text in texts for piece in split(text, limit)]
    began_s = time.time()
    answers = Gpu.engine.synthesize(rows)
    ended_s = time.time()
    assert len(answers) == len(rows)
    costs = [row.cost for row in rows]
    noted = {"began_s": began_s, "ended_s": ended_s, "texts": len(texts), "cost": sum(costs)}
    Gpu.client.rpush(PASSES, json.dumps({**noted, "padded": max(costs) * len(costs)}))


@app.task(name=ONE)
def one(text: str) -> None:
    """One text, one task."""
    speak([text])


@app.task(
    name=MANY,
    base=Batches,
    flush_every=flush_every,
    flush_interval=FLUSH_INTERVAL_S,
)
def many(requests: Sequence[SimpleRequest]) -> None:
    """As many texts as were waited for, in the order in which they came."""
    speak([str(request.args[0]) for request in requests])
