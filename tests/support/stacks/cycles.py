"""Cycles: a device loses its process and its model again and again, while texts come all the time.

Each cycle takes away the process that has the model, by turns as a person does (`unload`, in the middle of work) and
as the policy does (it was idle), and ends when another process has the model. What it finds out about the texts is in
``checked``: each has one outcome, with whole audio, and was claimed once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from stentor.client.types import JobJson
from stentor.devices.registry import DeviceRegistry, DeviceState, device_id
from stentor.jobs.job import PRIORITIES
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.redis.client import connect
from tests.support.speech.tones import ENVIRON as TONES
from tests.support.speech.tones import assert_whole
from tests.support.stacks.rooms import ROOMS, Rooms, rooms_apart
from tests.support.stacks.stack import eventually

#: How long one step of a cycle may take on a busy machine, in seconds.
STEP_S = 180.0
ENVIRON = {
    **TONES,
    "STENTOR_DWELL_S": "0",
    "STENTOR_UNLOAD_GRACE_S": "0.2",
    "STENTOR_IDLE_UNLOAD_S": "0.2",
    # A machine that is busy with other things is no reason to claim a text twice.
    "STENTOR_LEASE_S": "30",
    "STENTOR_BATCH_DEADLINE_S": "30",
    # So that an order comes between two drains, when the device still holds texts.
    "STENTOR_DRAIN_S": "0.2",
}
#: So many texts wait at most: a machine that is busy with other things would never have the device idle.
MOST_WAITING = 12
#: Texts of one submission, and the pauses between two, in seconds: the policy needs gaps of more than its grace.
MOST_AT_ONCE, PAUSES_S = 3, (0.3, 1.3)
_SENTENCE = "the shop closes at eight o'clock today and opens at nine tomorrow, "


class Traffic:
    """Texts of all priorities and lengths, none like another, submitted all the time from a thread of its own."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._backlog = Backlog(connect(rooms.settings), lease_s=rooms.settings.lease_s)
        self._draw = random.Random(7)
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.ids: list[str] = []
        #: What kept it from submitting.
        self.failure: Exception | None = None

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def submit(self, count: int) -> None:
        """So many texts, at once."""
        with self._lock, self._rooms.client() as client:
            jobs = [self._job(next(self._numbers)) for _ in range(count)]
            self.ids += [job["id"] for job in client.submit_jobs(jobs)]

    def _job(self, number: int) -> dict[str, object]:
        # The longest take several segments, so that an order may come in the middle of a job.
        text = f"Notice {number}: {_SENTENCE * self._draw.choice((0, 0, 1, 1, 2, 5))}goodbye."
        return {"text": text, "seed": number % 100, "priority": self._draw.choice(PRIORITIES)}

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._draw.uniform(*PAUSES_S)):
                if sum(state.waiting for state in self._backlog.lanes()) < MOST_WAITING:
                    self.submit(self._draw.randint(1, MOST_AT_ONCE))
        except Exception as exc:  # noqa: BLE001 - told by whoever looks
            self.failure = exc


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cycle:
    """What one cycle took, in seconds."""

    by: str
    #: Until the process with the model was gone, and from then until another had it.
    down_s: float
    up_s: float


class Cycles:
    """A device that is unloaded and loaded under traffic."""

    def __init__(self, rooms: Rooms, traffic: Traffic) -> None:
        self._rooms = rooms
        self._traffic = traffic
        self._device = device_id(rooms.settings.host, "cpu")
        self._client = connect(rooms.settings)
        self._registry = DeviceRegistry(self._client, lease_s=rooms.settings.lease_s)
        self._seen = "-"
        #: How often each job was settled, as the settling script tells.
        self.settled: Counter[str] = Counter()
        self.done: list[Cycle] = []

    def run(self, count: int, told: Callable[[int], object] = lambda _: None, *, most_s: float = math.inf) -> None:
        """So many cycles, or as many as there are until ``most_s`` are over; ``told`` hears how many are done."""
        ends_at = time.monotonic() + most_s
        while len(self.done) < count and time.monotonic() < ends_at:
            number = len(self.done)
            self.done.append(self._cycle("person" if number % 2 else "policy"))
            told(len(self.done))
            self.look()
            assert self._traffic.failure is None

    def _cycle(self, by: str) -> Cycle:
        old = eventually(self._with_model, STEP_S)
        began = time.monotonic()
        with self._rooms.client() as client:
            if by == "person":
                self._traffic.submit(2 * MOST_AT_ONCE)
                client.unload(self._device)
            else:
                client.leave_to_policy(self._device)
            eventually(lambda: not psutil.pid_exists(old), STEP_S)
            gone = time.monotonic()
            if by == "person":
                client.load(self._device)
        eventually(lambda: self._with_model() not in (0, old), STEP_S)
        return Cycle(by=by, down_s=gone - began, up_s=time.monotonic() - gone)

    def _with_model(self) -> int:
        """The process that has the model; 0 if none has."""
        (seen,) = self._registry.list()
        return (
            seen.pid
            if seen.state in {DeviceState.IDLE, DeviceState.BUSY} and seen.model and psutil.pid_exists(seen.pid)
            else 0
        )

    def look(self) -> int:
        """How many jobs have been settled; has to be asked before the stream forgets what it holds."""
        found: list[tuple[str, dict[str, str]]] = self._client.xrange(keys.EVENTS, min=self._seen)  # type: ignore[assignment]
        self.settled.update(event["id"] for _, event in found)
        if found:
            self._seen = f"({found[-1][0]}"
        return len(self.settled)

    def checked(self) -> list[JobJson]:
        """All jobs, after it was seen that each was settled once, as spoken and whole, and was claimed once."""
        with self._rooms.client() as client:
            client.load(self._device)
            ids = self._traffic.ids
            eventually(lambda: self.look() >= len(ids), STEP_S)
            jobs = [client.job(job_id) for job_id in ids]
        assert self.settled == Counter(ids)
        others = [job for job in jobs if (job["state"], job["attempts"]) != ("succeeded", 1)]
        assert others == [], self._why_again()
        assert_whole(self._rooms, jobs)
        self._nothing_is_left()
        return jobs

    def _why_again(self) -> list[str]:
        """What the device's processes logged that costs a text an attempt."""
        grave = ("released", "orphan_taken_back", "pass_hung", "out_of_memory", "device_replaced", "heartbeat_missed")
        return [str(event) for action in grave for event in self._rooms.events(action)]

    def _nothing_is_left(self) -> None:
        lanes = [str(lane) for lane in self._client.smembers(keys.LANES)]
        assert {lane: self._client.xlen(lane) for lane in lanes} == dict.fromkeys(lanes, 0)


def wait_s(job: JobJson) -> float:
    """From submission to outcome."""
    made, settled = (datetime.datetime.fromisoformat(str(job[name])) for name in ("created_at", "settled_at"))
    return (settled - made).total_seconds()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rooms]:
    """All rooms with a device that leaves often, ready."""
    with rooms_apart(folder / "near", folder, **ENVIRON) as rooms:
        for name in ROOMS:
            rooms.start(name)
        eventually(rooms.ready, STEP_S)
        yield rooms
