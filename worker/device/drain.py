"""The drain: speaks what waits, pass after pass, until nothing waits or its time is over.

During a forward pass, the answers of the last pass are evaluated, complete jobs go to the finisher, and rows of the
next pass are claimed and prepared. So a device with a backlog goes from pass to pass without a pause.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

from stentor import log
from stentor.errors import RedisUnavailable
from stentor.settings import Settings
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass
from worker.batching.rows import BatchRow, ClaimedJob
from worker.batching.runner import BatchRunner
from worker.claiming.claimer import Claimer, ClaimResult
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.residency import Residency
from worker.finishing.finisher import Finisher
from worker.process.blackbox import CrashReport
from worker.process.guard import Guard

_log = log.get(__name__)

#: Pause after Redis did not answer in the middle of a drain, and how often a stop is looked for, in seconds.
PAUSE_S = 0.5
#: Pause before the doorbell rings again for another device that did not hear it, in seconds.
YIELD_PAUSE_S = 0.1
#: Looks at the lanes during one pass: a text that comes in the last tenth of a pass misses the very next batch.
LOOKS = 10
#: Budgets that are prepared during a pass, if the engine pads: rows of similar length are found among more than one
#: batch. With 5,000 waiting texts of a realistic mix of lengths, 4 leave 11.2% of padding, 6 9.4%, 8 7.5%
#: (tests/bench/queue.py).
AHEAD = 8
#: Shortest and longest time between two looks, in seconds.
MIN_LOOK_S, MAX_LOOK_S = 0.01, 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrainResult:
    """How a drain ended."""

    #: Whether work may be left: the time was over, a stop came, or the process has grown too large.
    left: bool
    #: Whether something waits that this device could speak and that is held.
    held: bool


class Drain:
    """The work of a device: one drain at a time, in one thread. It alone changes the ready queue."""

    def __init__(
        self,
        settings: Settings,
        claimer: Claimer,
        claims: Claims,
        residency: Residency,
        ready: ReadyQueue,
        runner: BatchRunner,
        finisher: Finisher,
        budgets: Budgets,
        guard: Guard,
        *,
        crash_report: CrashReport | None,
        in_progress: Callable[[], Sequence[ClaimedJob]],
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._claimer = claimer
        self._claims = claims
        self._residency = residency
        self._ready = ready
        self._runner = runner
        self._finisher = finisher
        self._budgets = budgets
        self._guard = guard
        self._crash_report = crash_report
        self._in_progress = in_progress
        self._stopping = stopping
        self._recovered = False
        self._last_claim = ClaimResult()
        self._done: ForwardPass | None = None
        self._look_s = MIN_LOOK_S
        #: Whether Redis did not answer in the middle of something: it may have carried out a claim unheard.
        self._lost_touch = False

    def run(self) -> DrainResult:
        """Speak what waits. When the time is over, the next drain goes on with the same ready queue.

        Raises:
            EngineFailed: a model that is needed cannot be loaded.
        """
        try:
            left = self._run(time.monotonic() + self._settings.drain_s)
        finally:
            self._take_in()
        return DrainResult(left=left, held=self._last_claim.held)

    def _run(self, until: float) -> bool:
        while not self._stopping() and not self._guard.full:
            if time.monotonic() >= until:
                return True
            if not self._finisher.wait_for_room(PAUSE_S):
                self._take_in()
                continue
            if not self._has_batch():
                self._take_in()
                redis_answered = self._gather(until)
                if not self._ready:
                    if redis_answered:
                        return self._pause_for_others()
                    continue
            self._speak(self._ready.take_batch(self._residency.engines, self._budgets), look=True)
        self._take_in()
        self.let_go()
        return True

    def let_go(self) -> None:
        """Give all jobs of the ready queue back; a job of which a part was spoken starts anew."""
        jobs = self._ready.jobs
        try:
            self._claims.give_back([claim for claimed in jobs for claim in claimed.claims])
        except RedisUnavailable as exc:
            _log.warning("give_back_failed", reason=str(exc), jobs=len(jobs))
        for claimed in jobs:
            self._ready.remove(claimed)

    def close(self) -> None:
        """End the thread of forward passes after the running pass."""
        self._runner.close()

    def _has_batch(self) -> bool:
        """Whether a full batch of the most urgent row's model is ready, so that no lane need be looked at."""
        if not self._recovered or not self._ready or self._last_claim.put_off:
            return False
        model = self._ready.model
        return self._ready.cost(model) >= self._budgets.of(self._residency.engines[model].info)

    def _pause_for_others(self) -> bool:
        """Give another device time to hear the doorbell; False if nothing was left to other devices."""
        if self._last_claim.left_to_others:
            time.sleep(YIELD_PAUSE_S)
        return self._last_claim.left_to_others

    def _gather(self, until: float) -> bool:
        """Fill the ready queue. If it stays short of a batch, wait for more texts until the merge window is over.

        False if Redis did not answer.
        """
        try:
            if not self._recovered:
                self._recover(until)
            self.claim()
            if self._ready and not self._has_batch():
                wait_s = self._ready.oldest_at + self._settings.merge_window_ms / 1000 - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                    self.claim()
        except RedisUnavailable as exc:
            self._note_lost_touch(exc)
            time.sleep(PAUSE_S)
            return False
        return True

    def claim(self, *, ahead: int = 1, during_pass: bool = False) -> None:
        """Fill the ready queue with what the next passes can take. Before that, give back what Redis may have claimed
        for this device unheard.
        """
        held = [claim for claimed in self._in_progress() for claim in claimed.claims]
        self._claims.refresh_if_late(held)
        if self._lost_touch:
            released = self._claims.release(but={claim.job.id for claim in held})
            self._lost_touch = False
            _log.info("released", jobs=released, held=len(held))
        self._last_claim = self._claimer.claim(self._ready, ahead=ahead, during_pass=during_pass)
        self._accept(self._last_claim)

    def _accept(self, result: ClaimResult) -> None:
        for prepared in result.prepared:
            if prepared.rows:
                self._ready.add(prepared)
            else:
                self._finisher.start(prepared.claimed)
        if result.failure:
            raise result.failure

    def _note_lost_touch(self, exc: RedisUnavailable) -> None:
        self._lost_touch = True
        _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=PAUSE_S)

    def _speak(self, rows: Sequence[BatchRow], *, look: bool) -> None:
        """Run one forward pass. Meanwhile take in the one before and, with ``look``, claim rows of the next."""
        engine = self._residency.engine(rows[0].claimed.job.model)
        running = self._runner.start(engine, rows)
        failure: Exception | None = None
        try:
            self._take_in()
            if look:
                self._claim_during(running)
        except Exception as exc:  # noqa: BLE001 - raised again below, after the pass, whose answers are needed
            failure = exc
        self._done = running.result()
        self._look_s = min(MAX_LOOK_S, max(MIN_LOOK_S, self._done.took_s / LOOKS))
        if failure:
            raise failure

    def _take_in(self) -> None:
        """Pass the last forward pass on: its complete jobs to the finisher, its retakes to the ready queue."""
        if self._done is None:
            return
        done, self._done = self._done, None
        result = self._runner.evaluate(done)
        self._ready.put_back(result.retakes)
        for claimed in result.complete:
            self._finisher.start(claimed)
            self._ready.remove(claimed)

    def _claim_during(self, running: Future[ForwardPass]) -> None:
        """Claim what comes while a pass runs, so that it is ready when the next one begins."""
        while True:
            try:
                self.claim(ahead=AHEAD, during_pass=True)
            except RedisUnavailable as exc:
                self._note_lost_touch(exc)
                wait([running], PAUSE_S)
            if wait([running], self._look_s).done:
                return

    def _recover(self, until: float) -> None:
        """Take over what an earlier process of this device held. What it was speaking is spoken now, each job alone,
        because one of them may have ended it. The rest is given back.
        """
        self._release_unspoken()
        while time.monotonic() < until and not self._stopping():
            orphan = self._claimer.claim_orphan()
            if orphan is None:
                self._recovered = True
                return
            self._accept(orphan)
            for prepared in orphan.prepared:
                while row := self._ready.take_next(prepared.claimed):
                    self._speak(row, look=False)
                    self._take_in()
            self._finisher.wait_until_empty(self._settings.storage_retry_s)

    def _release_unspoken(self) -> None:
        """Give back, once, what the process before this one held and was not speaking when it ended."""
        report = self._crash_report
        if report is None:
            return
        if report.stack:
            _log.error("pass_hung", jobs=sorted(report.jobs), stack=report.stack)
        released = self._claims.release(but=report.jobs)
        _log.info("released", jobs=released, suspects=len(report.jobs))
        self._crash_report = None
