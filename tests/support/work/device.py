"""A device without Celery for tests: what ``worker.device.process`` wires, around a tone engine."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

import redis

from stentor.jobs.job import Job
from stentor.jobs.records import read_job
from stentor.jobs.store import JobStore
from stentor.redis import keys
from stentor.redis.client import text_map
from stentor.settings import Settings
from tests.support.speech.factories import TONE, ToneEngine
from worker.claiming.claims import Claim
from worker.device.residency import Residency
from worker.device.wiring import build_core
from worker.process.blackbox import BlackBox


@dataclasses.dataclass
class Bench:
    """A device without Celery: what `worker.device.process` wires, around a tone engine."""

    client: redis.Redis
    settings: Settings
    engine: ToneEngine
    name: str = "testhost/cpu"
    stopping: threading.Event = dataclasses.field(default_factory=threading.Event)
    #: What the parent of a device's processes holds; a Bench that is to come after another gets its box.
    box: BlackBox = dataclasses.field(default_factory=BlackBox)
    #: Models that are resident on other, idle devices.
    elsewhere: set[str] = dataclasses.field(default_factory=set)
    discarded: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = JobStore(self.client, retention_s=self.settings.retention_s)
        self.residency = Residency(self.settings, "cpu")
        self.residency.engines = {TONE: self.engine}
        core = build_core(
            self.settings,
            self.client,
            self.name,
            self.residency,
            self.box,
            stopping=self.stopping.is_set,
            elsewhere=lambda: self.elsewhere,
            discard=lambda job_id, _key: self.discarded.append(job_id),
        )
        self.ready, self.claims, self.backlog, self.budgets = core.ready, core.claims, core.backlog, core.budgets
        self.finisher, self.drain = core.finisher, core.drain

    def submit(self, *jobs: Job) -> list[Job]:
        self.store.submit(jobs)
        return list(jobs)

    def run(self) -> bool:
        """Drain; whether work may be left."""
        done = self.drain.run()
        assert self.finisher.wait_until_empty(20)
        return done.left

    def held(self) -> list[Claim]:
        """The claims of the jobs in the ready queue."""
        return [claim for claimed in self.ready.jobs for claim in claimed.claims]

    def now(self, job: Job) -> Job:
        return read_job(text_map(self.client.hgetall(keys.job(job.id))))

    def nothing_is_left(self) -> bool:
        lanes = [str(lane) for lane in self.client.smembers(keys.LANES)]
        return not any(self.client.xlen(lane) for lane in lanes) and not self.ready.jobs


@contextlib.contextmanager
def speaking(bench: Bench) -> Iterator[ToneEngine]:
    """Within, the device drains the lanes all the time, in a thread of its own."""
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set():
            bench.drain.run()
            bench.finisher.wait_until_empty(20)
            stop.wait(0.02)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield bench.engine
    finally:
        stop.set()
        thread.join()
