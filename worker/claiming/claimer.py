"""Claiming: fills a device's hand from the lanes, as much as the next forward pass can take."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from stentor import log
from stentor.errors import CloningUnsupported, EngineCrashed, EngineFailed, ModelUnavailable, SynthesisError
from stentor.jobs.job import PRIORITIES, Job, JobState, Outcome
from stentor.jobs.lanes import Lane, class_chars
from stentor.jobs.store import Backlog
from stentor.settings import Settings
from stentor.speech import CHARS_PER_S
from worker.batching.budget import Budgets
from worker.batching.rows import BatchRow, ClaimedJob, parcel_of
from worker.claiming.choice import Draw, choose
from worker.claiming.claims import Claim, Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.residency import Residency
from worker.engines.contract import Engine, EngineInfo
from worker.finishing.finisher import Finisher
from worker.process.blackbox import CrashReport

_log = log.get(__name__)

#: Most jobs of one claim, so that a lane of very short texts is not emptied by one device.
CLAIM_COUNT = 256


class Claimer:
    """Takes jobs out of lanes and prepares their rows."""

    def __init__(
        self,
        settings: Settings,
        backlog: Backlog,
        claims: Claims,
        residency: Residency,
        ready: ReadyQueue,
        finisher: Finisher,
        budgets: Budgets,
        *,
        crash_report: CrashReport | None,
        elsewhere: Callable[[], Collection[str]],
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        """``elsewhere`` tells which models are resident on other devices that are idle. ``begins`` is called when there
        is something to speak, before its model is loaded.
        """
        self._settings = settings
        self._backlog = backlog
        self._claims = claims
        self._residency = residency
        self._ready = ready
        self._finisher = finisher
        self._budgets = budgets
        self._crash_report = crash_report
        self._elsewhere = elsewhere
        self._begins = begins
        #: Whether something waits that was left to other devices.
        self.yielded = False
        #: Whether something waits that this device could speak and that is held.
        self.held = False
        #: Whether the most urgent text was left where it is until the pass that runs is over.
        self.put_off = False

    def top_up(self, *, ahead: int = 1, beside_a_pass: bool = False) -> None:
        """Claim and prepare what waits, until the hand holds ``ahead`` budgets (one, where padding costs nothing).

        Less urgent rows in hand leave no less room for a more urgent text: it goes first, and they go later. Beside a
        pass no model leaves the device for another, for it may be the one that speaks: then the text is ``put_off``.

        Raises:
            RedisUnavailable: Redis does not answer.
            EngineFailed: the model that the most urgent text needs cannot be loaded.
        """
        lanes = self._backlog.lanes()
        resident = self._residency.resident
        strange = any(state.lane.model not in resident for state in lanes)
        draws = choose(
            time.time(),
            lanes,
            speaks=self._residency.models,
            resident=resident,
            max_wait_s=self._settings.bulk_max_wait_s,
            elsewhere=self._elsewhere() if strange else (),
        )
        held = [state.held for state in lanes if state.lane.model in self._residency.models]
        self.held = any(held)
        self.yielded = not draws and not all(held)
        self.put_off = beside_a_pass and bool(draws) and not self._residency.has_room(draws[0].lane.model)
        if draws and not self.put_off:
            self._begins()
            engine = self._residency.engine(draws[0].lane.model)
            for draw in draws:
                self._draw(draw, engine, ahead if engine.info.pads else 1)

    def _draw(self, draw: Draw, engine: Engine, budgets: int) -> None:
        """Claim from one lane until there is no room for more, or nothing waits there."""
        left = CLAIM_COUNT if draw.at_most is None else draw.at_most
        while left:
            whole = budgets * self._budgets.of(engine.info)
            room = whole - self._ready.cost(draw.lane.model, rank=draw.rank)
            count = min(left, _count(draw.lane, engine.info, room))
            claimed = self._claims.claim(draw.lane, count) if count else []
            for claim in claimed:
                self.take(claim, engine, rank=draw.rank)
            if len(claimed) < count or not count:
                return
            left -= count

    def take(self, claim: Claim, engine: Engine, *, rank: int) -> ClaimedJob | None:
        """The claimed job, prepared and in hand; None if it needs no forward pass of its own."""
        if self._renewed(claim) or self._has_outcome(claim) or self._follows(claim):
            return None
        try:
            claimed, rows = parcel_of(claim, engine, claimed_at=time.monotonic(), rank=rank)
        except (ModelUnavailable, CloningUnsupported) as exc:
            self._fail(claim, exc)
            return None
        if not rows:
            self._finisher.hand_in(claimed)
            return None
        self._ready.add(claimed, rows)
        return claimed

    def _renewed(self, claim: Claim) -> bool:
        """Whether the job is here already: its lease ran out meanwhile, as it does while Redis is away."""
        return claim.suspect and any(claimed.renew(claim) for claimed in self._on_their_way)

    def _has_outcome(self, claim: Claim) -> bool:
        """Whether the job is settled here and now: tried too often, or an equal one has been spoken."""
        job = claim.job
        if job.attempts > self._settings.max_attempts:
            self._fail(claim, self._given_up(job))
        elif claim.known:
            outcome = Outcome(state=JobState.SUCCEEDED, fields={**claim.known, "cached": True})
            self._claims.settle(claim, outcome)
            _log.info("job_settled", job_id=job.id, state=JobState.SUCCEEDED, cached=True, attempts=job.attempts)
        return job.attempts > self._settings.max_attempts or bool(claim.known)

    def _follows(self, claim: Claim) -> bool:
        """Whether an equal job is on its way through this device, and this one gets its outcome."""
        wanted = claim.job.fingerprint
        if wanted is None or claim.suspect:
            return False
        return any(claimed.job.fingerprint == wanted and claimed.follow(claim) for claimed in self._on_their_way)

    @property
    def _on_their_way(self) -> list[ClaimedJob]:
        return [*self._ready.claimed_jobs, *self._finisher.held]

    def _given_up(self, job: Job) -> SynthesisError:
        said = (
            f"the device's process ended {job.attempts - 1} times while it spoke this job; "
            f"{self._settings.max_attempts} claims are allowed"
        )
        last = self._crash_report
        return last.error(said) if last and job.id in last.jobs else EngineCrashed(said)

    def _fail(self, claim: Claim, error: SynthesisError) -> None:
        self._claims.settle(claim, Outcome.failed(error))
        attempts = claim.job.attempts
        _log.error("job_settled", job_id=claim.job.id, state=JobState.FAILED, code=error.code, attempts=attempts)

    def orphan(self) -> ClaimedJob | None:
        """The next job that an earlier process of this device left, in hand; None when there is none left.

        Raises:
            RedisUnavailable: Redis does not answer.
            EngineFailed: its model cannot be loaded; the job has been given back.
        """
        while (claim := self._claims.orphan()) and not self._renewed(claim):
            _log.warning("orphan_taken_back", job_id=claim.job.id, attempts=claim.job.attempts)
            self._begins()
            try:
                engine = self._residency.engine(claim.job.model)
                claimed = self.take(claim, engine, rank=PRIORITIES.index(claim.job.priority))
            except ModelUnavailable as exc:
                self._fail(claim, exc)
            except EngineFailed:
                # That the model does not load is not this job's doing, and costs it no attempt.
                self._claims.give_back([claim])
                raise
            else:
                if claimed:
                    return claimed
                self._finisher.wait_until_empty(self._settings.lease_s)
        return None


def _count(lane: Lane, info: EngineInfo, room: float) -> int:
    """How many of the lane's texts fit into ``room`` units of cost, by the longest text of its class."""
    # Only a first guess: batches are packed by the cost that the engine itself estimates.
    cost = class_chars(lane.length) / CHARS_PER_S * info.cost_per_s
    return 0 if room <= 0 else max(1, min(CLAIM_COUNT, int(room // cost)))


def rows_of(ready: ReadyQueue, claimed: ClaimedJob) -> list[BatchRow]:
    """The rows of one claimed, in order."""
    return [row for row in ready.rows if row.claimed is claimed]
