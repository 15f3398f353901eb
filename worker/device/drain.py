"""The drain: speaks what waits, pass after pass, until nothing waits or its time is over.

While a forward pass runs, the last one's answers are looked at and handed in to be encoded, stored and settled, and
rows of the next one are claimed and prepared; so a device with a backlog goes from pass to pass and waits for nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

from stentor import log
from stentor.errors import RedisUnavailable
from stentor.settings import Settings
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass
from worker.batching.rows import BatchRow
from worker.batching.runner import BatchRunner
from worker.claiming.claimer import Claimer, rows_of
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.residency import Residency
from worker.finishing.finisher import Finisher
from worker.process.blackbox import CrashReport
from worker.process.guard import Guard

_log = log.get(__name__)

#: Pause after Redis did not answer in the middle of a drain, and how often a stop is looked for, in seconds.
PAUSE_S = 0.5
#: Pause before the doorbell is rung on for another device, in seconds, should that one not hear it.
YIELD_PAUSE_S = 0.1
#: Looks at the lanes during one pass: what comes in its last tenth misses the very next batch.
LOOKS = 10
#: Budgets that are prepared beside a pass, where padding costs something: rows of like length are found among more than
#: one batch holds. With 5,000 texts of a realistic mix of lengths waiting, 4 leave 11.2% of padding, 6 9.4%, 8 7.5%
#: (tests/bench/queue.py).
AHEAD = 8
#: Least and longest time between two looks, in seconds.
LEAST_LOOK_S, LONGEST_LOOK_S = 0.01, 0.2


class Drain:
    """Works a device: one drain at a time, in one thread, with one more for the forward pass."""

    def __init__(
        self,
        settings: Settings,
        claimer: Claimer,
        claims: Claims,
        residency: Residency,
        ready: ReadyQueue,
        finisher: Finisher,
        budgets: Budgets,
        guard: Guard,
        *,
        crash_report: CrashReport | None,
        stopping: Callable[[], bool],
        spoke: Callable[[ForwardPass], None],
    ) -> None:
        self._settings = settings
        self._claimer = claimer
        self._claims = claims
        self._residency = residency
        self._ready = ready
        self._finisher = finisher
        self._budgets = budgets
        self._guard = guard
        self._crash_report = crash_report
        self._stopping = stopping
        self._runner = BatchRunner(ready, finisher, budgets, guard, spoke=spoke)
        self._recovered = False
        self._done: ForwardPass | None = None
        self._look_s = LEAST_LOOK_S
        #: Whether Redis did not answer in the middle of something: a claim may have been carried out unheard.
        self._lost_touch = False

    def run(self) -> bool:
        """Whether work may be left: the time was over, a stop came, or the process has grown too large.

        When the time is over the hand is kept for the next drain, which need not claim and prepare it again.

        Raises:
            EngineFailed: a model that is needed cannot be loaded.
        """
        try:
            return self._run(time.monotonic() + self._settings.drain_s)
        finally:
            self._take_in()

    def _run(self, until: float) -> bool:
        while not self._stopping() and not self._guard.full:
            if time.monotonic() >= until:
                return True
            if not self._finisher.wait_for_room(PAUSE_S):
                self._take_in()
                continue
            if not self._has_a_batch():
                self._take_in()
                gathered = self._gathered(until)
                if not self._ready.rows:
                    if gathered:
                        return self._left_to_others()
                    continue
            self._pass(self._ready.take_batch(self._residency.engines, self._budgets), look=True)
        self._take_in()
        self.let_go()
        return True

    def let_go(self) -> None:
        """Let others have all that is in hand; a job of which a part was spoken starts anew."""
        claimed_jobs = self._ready.claimed_jobs
        try:
            self._claims.give_back(self._ready.claims)
        except RedisUnavailable as exc:
            _log.warning("give_back_failed", reason=str(exc), jobs=len(claimed_jobs))
        for claimed in claimed_jobs:
            self._ready.drop(claimed)

    def close(self) -> None:
        """End the thread of forward passes, after the one that runs."""
        self._runner.close()

    def _has_a_batch(self) -> bool:
        """Whether the hand holds a full batch of its most urgent row's model, so that nobody need be asked for more."""
        if not self._recovered or not self._ready.rows or self._claimer.put_off:
            return False
        model = self._ready.model
        return self._ready.cost(model) >= self._budgets.of(self._residency.engines[model].info)

    def _left_to_others(self) -> bool:
        if self._claimer.yielded:
            time.sleep(YIELD_PAUSE_S)
        return self._claimer.yielded

    def _gathered(self, until: float) -> bool:
        """Whether the lanes could be asked; what they had is in hand then."""
        try:
            if not self._recovered:
                self._recover(until)
            self._gather()
        except RedisUnavailable as exc:
            self._lost_touch = True
            _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=PAUSE_S)
            time.sleep(PAUSE_S)
            return False
        return True

    def _top_up(self, *, ahead: int = 1, beside_a_pass: bool = False) -> None:
        """Claim what the next pass can take; before that, give back what was claimed unheard while Redis was away."""
        held = [*self._ready.claims, *self._finisher.claims]
        self._claims.keep(held)
        if self._lost_touch:
            released = self._claims.release(but={claim.job.id for claim in held})
            self._lost_touch = False
            _log.info("released", jobs=released, held=len(held))
        self._claimer.top_up(ahead=ahead, beside_a_pass=beside_a_pass)

    def _gather(self) -> None:
        """Fill the hand; when it stays short of a batch, wait the merge window out for company."""
        self._top_up()
        if not self._ready.rows or self._has_a_batch():
            return
        oldest = min(row.claimed_at for row in self._ready.rows)
        wait_s = oldest + self._settings.merge_window_ms / 1000 - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
            self._top_up()

    def _pass(self, rows: Sequence[BatchRow], *, look: bool) -> None:
        """One forward pass. Beside it the answers of the one before are taken in, and rows of the next are prepared."""
        engine = self._residency.engine(rows[0].claimed.job.model)
        passing = self._runner.start(engine, rows)
        failure: Exception | None = None
        try:
            self._take_in()
            if look:
                self._look_around(passing)
        except Exception as exc:  # noqa: BLE001 - raised again below: whatever it is, the pass has answers
            failure = exc
        self._done = passing.result()
        self._look_s = min(LONGEST_LOOK_S, max(LEAST_LOOK_S, self._done.took_s / LOOKS))
        if failure:
            raise failure

    def _take_in(self) -> None:
        if self._done is not None:
            done, self._done = self._done, None
            self._runner.take_in(done)

    def _look_around(self, passing: Future[ForwardPass]) -> None:
        """Claim what comes while a pass runs, so that it is in hand when the next begins."""
        while True:
            try:
                self._top_up(ahead=AHEAD, beside_a_pass=True)
            except RedisUnavailable as exc:
                self._lost_touch = True
                _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=PAUSE_S)
                wait([passing], PAUSE_S)
            if wait([passing], self._look_s).done:
                return

    def _recover(self, until: float) -> None:
        """Give back what an earlier process of this device held and was not just speaking, and speak what it was
        speaking, each alone: one of them may have ended it.
        """
        if self._crash_report is not None:
            if self._crash_report.stack:
                _log.error("pass_hung", jobs=sorted(self._crash_report.jobs), stack=self._crash_report.stack)
            released = self._claims.release(but=self._crash_report.jobs)
            _log.info("released", jobs=released, suspects=len(self._crash_report.jobs))
            self._crash_report = None
        while time.monotonic() < until and not self._stopping():
            claimed = self._claimer.orphan()
            if claimed is None:
                self._recovered = True
                return
            while rows := rows_of(self._ready, claimed):
                self._ready.rows.remove(rows[0])
                self._pass(rows[:1], look=False)
                self._take_in()
            self._finisher.wait_until_empty(self._settings.storage_retry_s)
