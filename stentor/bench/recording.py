"""Sends the texts of a scenario and records their results, with few connections."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from stentor.bench.beats import Beats
from stentor.bench.observed import REFUSED, UNSETTLED, BenchRecording, TextResult
from stentor.bench.scenarios import Request, text
from stentor.client import SETTLED, Client
from stentor.client.types import JobJson
from stentor.errors import StentorError

#: Number of simultaneous submissions, so that a slow one does not delay the next.
SENDERS = 4
#: Number of simultaneous waits for an outcome, oldest text first.
WATCHERS = 16
#: Number of checkpoints of a backlog: wait for the last text of each part in turn.
CHECKPOINTS = 50
#: If nothing has settled for this time, stop waiting for the rest, in seconds.
STALL_S = 300.0
#: Number of jobs on one page of the list.
PAGE_JOBS = 1000
#: Maximum time for the first text, including the loading of the model, in seconds.
WARM_S = 300.0


def warm_up(client: Client, parameters: Mapping[str, Any]) -> None:
    """Speak one text that is not counted, so that a model is loaded."""
    job = client.submit_job({"text": "One, two, three.", "priority": "interactive", **parameters})
    client.settled_job(job["id"], timeout_s=WARM_S)


class Recorder:
    """Runs one scenario once. ``on_done`` is called with the number of finished texts, by one thread at a time."""

    def __init__(
        self,
        client: Client,
        *,
        chars: int,
        seed: int,
        parameters: Mapping[str, Any],
        on_done: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._chars = chars
        self._seed = seed
        self._parameters = parameters
        self._on_done = on_done
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._made = 0
        self._late_s = 0.0
        self._done: list[TextResult] = []
        #: Accepted jobs that are not watched, in order: id -> priority.
        self._unwatched: dict[str, str] = {}
        self._watchers = ThreadPoolExecutor(WATCHERS, thread_name_prefix="watch")
        self._watching: list[Future[None]] = []

    def run(self, requests: Sequence[Request]) -> BenchRecording:
        """Send all requests when they are due, and wait for all outcomes."""
        senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="send")
        beats = Beats(self._client)
        try:
            with beats:
                sending = list(self._send_all(requests, senders))
                for sent in sending:
                    sent.result()
                self._follow_backlog()
                for watched in self._watching:
                    watched.result()
                beats.calm_down()
        finally:
            senders.shutdown(wait=False, cancel_futures=True)
            self._watchers.shutdown(wait=False, cancel_futures=True)
        return BenchRecording(texts=self._done, beats=beats.seen, late_s=self._late_s)

    def _send_all(self, requests: Sequence[Request], senders: ThreadPoolExecutor) -> Iterator[Future[None]]:
        """Give each request to a sender when it is due."""
        began = time.monotonic()
        for request in requests:
            jobs = self._jobs(request)
            time.sleep(max(0.0, began + request.due_s - time.monotonic()))
            yield senders.submit(self._send, request, jobs, began + request.due_s)

    def _jobs(self, request: Request) -> list[dict[str, Any]]:
        """The jobs of a request. Each has its own seed, so that no audio comes from the cache."""
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
            refused = TextResult(job_id=None, priority=request.priority, state=REFUSED, error=error.code)
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
        if (settled := self._wait_for(job["id"])) is None:
            self._add([_without_outcome(job["id"], job["priority"])])
        else:
            self._add([TextResult.of(settled, seen_after_s=time.monotonic() - began)])

    def _wait_for(self, job_id: str) -> JobJson | None:
        """Wait until the job has its outcome, and return it; None if the devices make no progress."""
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
        """Number of forward passes of all devices: while it grows, keep waiting."""
        with contextlib.suppress(StentorError):
            return sum(device["batches"] for device in self._client.devices())
        return -1

    def _follow_backlog(self) -> None:
        """Wait for the unwatched jobs at a few checkpoints, then read the results of all of them."""
        ids = list(self._unwatched)
        step = max(1, len(ids) // CHECKPOINTS)
        for at in range(step, len(ids) + step, step):
            if self._wait_for(ids[min(at, len(ids)) - 1]) is None:
                break
            with self._lock:
                self._on_done(len(self._done) + min(at, len(ids)))
        missing = dict(self._unwatched)
        # Jobs settle in roughly the order of submission, so few are left after the last checkpoint.
        while missing and self._wait_for(min(missing)) is not None:
            self._collect(missing)
        self._add([_without_outcome(job_id, priority) for job_id, priority in missing.items()])

    def _collect(self, missing: dict[str, str]) -> None:
        """Move settled jobs out of ``missing``, page by page from the newest to the oldest."""
        oldest, cursor = min(missing), None
        while True:
            page = self._client.jobs(limit=PAGE_JOBS, cursor=cursor)
            found = [job for job in page["jobs"] if job["id"] in missing and job["state"] in SETTLED]
            self._add([TextResult.of(job) for job in found])
            for job in found:
                del missing[job["id"]]
            cursor = page["next_cursor"]
            if cursor is None or cursor < oldest or not missing:
                return

    def _add(self, results: Sequence[TextResult]) -> None:
        with self._lock:
            self._done += results
            self._on_done(len(self._done))


def _without_outcome(job_id: str, priority: str) -> TextResult:
    return TextResult(job_id=job_id, priority=priority, state=UNSETTLED, error="no_outcome")
