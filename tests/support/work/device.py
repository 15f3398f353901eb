"""A device without Celery for tests: what ``worker.device.process`` wires, around a tone engine."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

import redis

from stentor.jobs.job import Job
from stentor.jobs.records import read_job
from stentor.jobs.store import Backlog, JobStore
from stentor.redis import keys
from stentor.redis.client import text_map
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.speech.factories import TONE, ToneEngine
from worker.batching.budget import Budgets
from worker.claiming.claimer import Claimer
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.drain import Drain
from worker.device.residency import Residency
from worker.finishing.finisher import Finisher
from worker.process.blackbox import BlackBox
from worker.process.guard import Guard


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
        self.ready = ReadyQueue()
        self.claims = Claims(self.client, self.settings, self.name)
        self.finisher = Finisher(
            self.claims,
            Storage(self.settings),
            storage_retry_s=self.settings.storage_retry_s,
            loudness_lufs=self.settings.loudness_lufs,
            discard=lambda job_id, _key: self.discarded.append(job_id),
        )
        self.backlog = Backlog(self.client, lease_s=self.settings.lease_s)
        self.budgets = Budgets(self.client, self.name)
        self.crash_report = self.box.crash_report()
        self.guard = Guard(self.settings, self.box, memory_limit_bytes=None)
        claimer = Claimer(
            self.settings,
            self.backlog,
            self.claims,
            self.residency,
            self.ready,
            self.finisher,
            self.budgets,
            crash_report=self.crash_report,
            elsewhere=lambda: self.elsewhere,
        )
        self.drain = Drain(
            self.settings,
            claimer,
            self.claims,
            self.residency,
            self.ready,
            self.finisher,
            self.budgets,
            self.guard,
            crash_report=self.crash_report,
            stopping=self.stopping.is_set,
            spoke=lambda _: None,
        )

    def submit(self, *jobs: Job) -> list[Job]:
        self.store.submit(jobs)
        return list(jobs)

    def run(self) -> bool:
        left = self.drain.run()
        assert self.finisher.wait_until_empty(20)
        return left

    def now(self, job: Job) -> Job:
        return read_job(text_map(self.client.hgetall(keys.job(job.id))))

    def nothing_is_left(self) -> bool:
        lanes = [str(lane) for lane in self.client.smembers(keys.LANES)]
        return not any(self.client.xlen(lane) for lane in lanes) and not self.ready.claims


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
