"""Sends the texts of a scenario and looks what becomes of them, with few connections."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from stentor.bench.observed import REFUSED, UNSETTLED, Beat, Recording, Spoken
from stentor.bench.scenarios import Request, text
from stentor.client import SETTLED, Client
from stentor.client.types import JobJson
from stentor.devices.registry import DeviceState
from stentor.errors import StentorError

#: Requests that submit at the same time: one that takes long does not hold up the next.
SENDERS = 4
#: Requests that wait for an outcome at the same time, that of the oldest text first.
WATCHERS = 16
#: How often the devices are asked what they do, in seconds.
BEAT_S = 1.0
#: Looks at a backlog on its way: its 50th part is waited for, then the next.
CHECKPOINTS = 50
#: When so long nothing of a scenario has settled, the rest is given up, in seconds.
STALL_S = 300.0
#: Jobs on one page of the list, and how long the devices may take to report that they are idle again, in seconds.
PAGE_JOBS, CALM_S = 1000, 3.0
#: How long the first text may take, the model's load included, in seconds.
WARM_S = 300.0


def warm_up(client: Client, parameters: Mapping[str, Any]) -> None:
    """Have one text spoken that is not counted, so that a model is resident."""
    job = client.submit_job({"text": "One, two, three.", "priority": "interactive", **parameters})
    client.settled_job(job["id"], timeout_s=WARM_S)


class Recorder:
    """Runs one scenario once. ``told`` is called with the number of texts done, by one thread at a time."""

    def __init__(
        self,
        client: Client,
        *,
        chars: int,
        seed: int,
        parameters: Mapping[str, Any],
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._chars = chars
        self._seed = seed
        self._parameters = parameters
        self._told = told
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._made = 0
        self._late_s = 0.0
        self._done: list[Spoken] = []
        #: Jobs that nobody watches, in the order in which they were taken: id -> priority.
        self._unwatched: dict[str, str] = {}
        self._watchers = ThreadPoolExecutor(WATCHERS, thread_name_prefix="watch")
        self._watching: list[Future[None]] = []

    def run(self, requests: Sequence[Request]) -> Recording:
        """Send everything when it is due and wait for all outcomes."""
        senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="send")
        beats = Beats(self._client)
        try:
            with beats:
                sending = list(self._sending(requests, senders))
                for sent in sending:
                    sent.result()
                self._look_up()
                for watched in self._watching:
                    watched.result()
                beats.calm_down()
        finally:
            senders.shutdown(wait=False, cancel_futures=True)
            self._watchers.shutdown(wait=False, cancel_futures=True)
        return Recording(texts=self._done, beats=beats.seen, late_s=self._late_s)

    def _sending(self, requests: Sequence[Request], senders: ThreadPoolExecutor) -> Iterator[Future[None]]:
        """Hand each request to a sender when it is due."""
        began = time.monotonic()
        for request in requests:
            jobs = self._jobs(request)
            time.sleep(max(0.0, began + request.due_s - time.monotonic()))
            yield senders.submit(self._send, request, jobs, began + request.due_s)

    def _jobs(self, request: Request) -> list[dict[str, Any]]:
        """Each text with a seed of its own: a repeat would be answered with audio that is stored already."""
        first = self._seed + self._made
        self._made += request.texts
        return [
            {
                "text": text(self._rng, self._chars),
                "seed": (first + number) % 2**32,
                "priority": request.priority,
                **self._parameters,
            }
            for number in range(request.texts)
        ]

    def _send(self, request: Request, jobs: Sequence[Mapping[str, Any]], due: float) -> None:
        began = time.monotonic()
        try:
            taken = self._client.submit_jobs(jobs) if len(jobs) > 1 else [self._client.submit_job(jobs[0])]
        except StentorError as error:
            refused = Spoken(job_id=None, priority=request.priority, state=REFUSED, error=error.code)
            self._add([refused] * len(jobs))
            return
        finally:
            with self._lock:
                self._late_s = max(self._late_s, began - due)
        with self._lock:
            if request.watched:
                self._watching += [self._watchers.submit(self._watch, job, began) for job in taken]
            else:
                self._unwatched |= {job["id"]: request.priority for job in taken}

    def _watch(self, job: JobJson, began: float) -> None:
        if (settled := self._settled(job["id"])) is None:
            self._add([_unsettled(job["id"], job["priority"])])
        else:
            self._add([Spoken.of(settled, seen_after_s=time.monotonic() - began)])

    def _settled(self, job_id: str) -> JobJson | None:
        """The job when it has its outcome; None if the wait was given up."""
        while True:
            before = self._progress()
            try:
                job = self._client.settled_job(job_id, timeout_s=STALL_S)
            except StentorError:
                return None
            if job["state"] in SETTLED:
                return job
            if self._progress() == before:
                return None

    def _progress(self) -> int:
        """Forward passes of all devices: while they go on, it is worth waiting."""
        with contextlib.suppress(StentorError):
            return sum(device["batches"] for device in self._client.devices())
        return -1

    def _look_up(self) -> None:
        """Wait for the jobs that nobody watches, at a few checkpoints, and then read what became of all of them."""
        ids = list(self._unwatched)
        step = max(1, len(ids) // CHECKPOINTS)
        for at in range(step, len(ids) + step, step):
            if self._settled(ids[min(at, len(ids)) - 1]) is None:
                break
            with self._lock:
                self._told(len(self._done) + min(at, len(ids)))
        missing = dict(self._unwatched)
        # Jobs settle in about the order in which they came: few are left after the last, if any.
        while missing and self._settled(min(missing)) is not None:
            self._collect(missing)
        self._add([_unsettled(job_id, priority) for job_id, priority in missing.items()])

    def _collect(self, missing: dict[str, str]) -> None:
        """Move the settled ones out of ``missing``, page by page from the newest to the oldest of them."""
        oldest, cursor = min(missing), None
        while True:
            page = self._client.jobs(limit=PAGE_JOBS, cursor=cursor)
            found = [job for job in page["jobs"] if job["id"] in missing and job["state"] in SETTLED]
            self._add([Spoken.of(job) for job in found])
            for job in found:
                del missing[job["id"]]
            cursor = page["next_cursor"]
            if cursor is None or cursor < oldest or not missing:
                return

    def _add(self, spoken: Sequence[Spoken]) -> None:
        with self._lock:
            self._done += spoken
            self._told(len(self._done))


def _unsettled(job_id: str, priority: str) -> Spoken:
    return Spoken(job_id=job_id, priority=priority, state=UNSETTLED, error="no_outcome")


class Beats:
    """Asks once a second what the devices report; each report is kept once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)
        self._last: dict[str, Beat] = {}
        self.seen: list[Beat] = []

    def __enter__(self) -> Beats:
        self._look()
        self._thread.start()
        # What came before is counted before.
        self.calm_down()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def calm_down(self) -> None:
        """Wait until the devices have reported that they are idle: their counters are complete then."""
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline and any(beat.state == DeviceState.BUSY for beat in list(self._last.values())):
            time.sleep(BEAT_S / 4)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S):
            self._look()
        self._look()

    def _look(self) -> None:
        with contextlib.suppress(StentorError):
            for beat in map(Beat.of, self._client.devices()):
                if self._last.get(beat.device) != beat:
                    self._last[beat.device] = beat
                    self.seen.append(beat)
