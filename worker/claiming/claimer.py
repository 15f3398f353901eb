"""The claimer: takes jobs out of the lanes, as many as the next forward passes can speak, and prepares their rows."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from stentor import log
from stentor.errors import CloningUnsupported, EngineCrashed, EngineFailed, ModelUnavailable, SynthesisError
from stentor.jobs.job import PRIORITIES, Job, JobState, Outcome
from stentor.jobs.lanes import Lane, LaneState, class_chars
from stentor.jobs.store import Backlog
from stentor.settings import Settings
from stentor.speech import CHARS_PER_S
from worker.batching.budget import Budgets
from worker.batching.rows import ClaimedJob, PreparedJob, prepare_job
from worker.claiming.choice import Draw, choose
from worker.claiming.claims import Claim, Claims
from worker.claiming.ready_queue import ReadyQueue, cost_of
from worker.device.residency import Residency
from worker.engines.contract import Engine, EngineInfo
from worker.process.blackbox import CrashReport

_log = log.get(__name__)

#: Maximum number of jobs of one claim, so that one device does not empty a lane of very short texts.
CLAIM_COUNT = 256
#: Claiming ends after this share of a lease, because the heartbeat refreshes a claim only once it is in the result.
LEASE_SHARE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What the claimer took out of the lanes, and why it took no more."""

    #: Jobs in the order in which they were claimed.
    prepared: Sequence[PreparedJob] = ()
    #: Whether something waits that is left to other devices for a moment, because they have its model.
    left_to_others: bool = False
    #: Whether something waits that this device could speak and that is held.
    held: bool = False
    #: Whether the most urgent text waits for the end of the running pass, because its model needs room.
    put_off: bool = False
    #: What ended the claiming early. To be raised after ``prepared`` is in the ready queue.
    failure: Exception | None = None


class Claimer:
    """Takes jobs out of lanes and prepares their rows. It only reads the ready queue."""

    def __init__(
        self,
        settings: Settings,
        backlog: Backlog,
        claims: Claims,
        residency: Residency,
        budgets: Budgets,
        *,
        crash_report: CrashReport | None,
        in_progress: Callable[[], Sequence[ClaimedJob]],
        elsewhere: Callable[[], Collection[str]],
        on_work: Callable[[], None] = lambda: None,
    ) -> None:
        """``in_progress`` returns the jobs that this device holds already, ``elsewhere`` the models that are resident
        on other, idle devices. ``on_work`` is called when there is something to speak, before its model is loaded.
        """
        self._settings = settings
        self._backlog = backlog
        self._claims = claims
        self._residency = residency
        self._budgets = budgets
        self._crash_report = crash_report
        self._in_progress = in_progress
        self._elsewhere = elsewhere
        self._on_work = on_work

    def claim(self, ready: ReadyQueue, *, ahead: int = 1, during_pass: bool = False) -> ClaimResult:
        """Claim and prepare what waits, until ``ready`` and the result together hold ``ahead`` budgets (one, if the
        engine does not pad).

        Less urgent rows that are ready leave no less room for a more urgent text: it goes first, and they go later.
        During a pass no model leaves the device for another, because it may be the one that speaks: the text is then
        ``put_off``.

        Raises:
            RedisUnavailable: Redis does not answer, and nothing was claimed.
            EngineFailed: the model that the most urgent text needs cannot be loaded.
        """
        models = self._residency.models
        lanes = [state for state in self._backlog.lanes() if state.lane.model in models]
        draws = self._choose(lanes, models)
        held = [state.held for state in lanes]
        if not draws:
            return ClaimResult(left_to_others=not all(held), held=any(held))
        model = draws[0].lane.model
        if during_pass and not self._residency.has_room(model):
            return ClaimResult(held=any(held), put_off=True)
        self._on_work()
        engine = self._residency.engine(model)
        prepared: list[PreparedJob] = []
        failure: Exception | None = None
        try:
            self._draw_all(draws, engine, ready, prepared, budgets=ahead if engine.info.pads else 1)
        except Exception as exc:  # noqa: BLE001 - raised again by the caller, who first takes in what was claimed
            failure = exc
        return ClaimResult(prepared=prepared, held=any(held), failure=failure)

    def _choose(self, lanes: Sequence[LaneState], models: Collection[str]) -> list[Draw]:
        resident = self._residency.resident
        needs_load = any(state.lane.model not in resident for state in lanes)
        return choose(
            time.time(),
            lanes,
            speaks=models,
            resident=resident,
            max_wait_s=self._settings.bulk_max_wait_s,
            elsewhere=self._elsewhere() if needs_load else (),
        )

    def _draw_all(
        self, draws: Sequence[Draw], engine: Engine, ready: ReadyQueue, prepared: list[PreparedJob], *, budgets: int
    ) -> None:
        until = time.monotonic() + LEASE_SHARE * self._settings.lease_s
        for draw in draws:
            left = CLAIM_COUNT if draw.at_most is None else draw.at_most
            while left and time.monotonic() < until:
                room = budgets * self._budgets.of(engine.info) - _ready_cost(draw, ready, prepared)
                count = min(left, _count(draw.lane, engine.info, room))
                claimed = self._claims.claim(draw.lane, count) if count else []
                for claim in claimed:
                    self._prepare(claim, engine, draw.rank, prepared)
                if len(claimed) < count or not count:
                    break
                left -= count

    def _prepare(self, claim: Claim, engine: Engine, rank: int, prepared: list[PreparedJob]) -> None:
        """Prepare the claimed job and add it to ``prepared``, unless it needs no work of its own."""

        def mates() -> Iterator[ClaimedJob]:
            return itertools.chain(self._in_progress(), (one.claimed for one in prepared))

        if _renew(claim, mates) or self._settle_known(claim) or _follow_equal(claim, mates):
            return
        try:
            prepared.append(prepare_job(claim, engine, claimed_at=time.monotonic(), rank=rank))
        except (ModelUnavailable, CloningUnsupported) as exc:
            self._fail(claim, exc)

    def _settle_known(self, claim: Claim) -> bool:
        """Settle a job that needs no work: it was tried too often, or an equal job was spoken before. False for others.

        A job that was tried too often fails, whatever its text.
        """
        if claim.job.attempts > self._settings.max_attempts:
            self._fail(claim, self._crash_error(claim.job))
            return True
        if claim.known:
            self._claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={**claim.known, "cached": True}))
            return True
        return False

    def _crash_error(self, job: Job) -> SynthesisError:
        detail = (
            f"The device's process ended {job.attempts - 1} times while it spoke this job. "
            f"Allowed attempts: {self._settings.max_attempts}."
        )
        report = self._crash_report
        return report.error(detail) if report and job.id in report.jobs else EngineCrashed(detail)

    def _fail(self, claim: Claim, error: SynthesisError) -> None:
        self._claims.settle(claim, Outcome.failed(error))

    def claim_orphan(self) -> ClaimResult | None:
        """The next job that an earlier process of this device left; None when no such job is left. The result is empty
        if the job needs no work of its own.

        Raises:
            RedisUnavailable: Redis does not answer.
            EngineFailed: its model cannot be loaded; the job was given back.
        """
        claim = self._claims.claim_orphan()
        if claim is None or _renew(claim, self._in_progress):
            return None
        _log.warning("orphan_taken_back", job_id=claim.job.id, attempts=claim.job.attempts)
        self._on_work()
        prepared: list[PreparedJob] = []
        try:
            engine = self._residency.engine(claim.job.model)
            self._prepare(claim, engine, PRIORITIES.index(claim.job.priority), prepared)
        except ModelUnavailable as exc:
            self._fail(claim, exc)
        except EngineFailed:
            # The job did not cause this, so it costs the job no attempt.
            self._claims.give_back([claim])
            raise
        return ClaimResult(prepared=prepared)


def _renew(claim: Claim, mates: Callable[[], Iterable[ClaimedJob]]) -> bool:
    """Renew the claim of a job that is in progress here; False if it is not. Its lease ran out, as it does while Redis
    is away.
    """
    return claim.suspect and any(claimed.renew(claim) for claimed in mates())


def _follow_equal(claim: Claim, mates: Callable[[], Iterable[ClaimedJob]]) -> bool:
    """Let the job get the outcome of an equal job that is in progress here; False if there is no such job."""
    fingerprint = claim.job.fingerprint
    if fingerprint is None or claim.suspect:
        return False
    return any(claimed.job.fingerprint == fingerprint and claimed.add_follower(claim) for claimed in mates())


def _ready_cost(draw: Draw, ready: ReadyQueue, prepared: Sequence[PreparedJob]) -> int:
    model, rows = draw.lane.model, (row for one in prepared for row in one.rows)
    return ready.cost(model, rank=draw.rank) + cost_of(rows, model, rank=draw.rank)


def _count(lane: Lane, info: EngineInfo, room: float) -> int:
    """How many of the lane's texts fit into ``room`` units of cost, by the longest text of its class."""
    # Only a first guess: batches are packed by the cost that the engine itself estimates.
    cost = class_chars(lane.length) / CHARS_PER_S * info.cost_per_s
    return 0 if room <= 0 else max(1, min(CLAIM_COUNT, int(room // cost)))
