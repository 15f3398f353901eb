"""The batch runner: runs forward passes, one at a time, in a thread of its own, and evaluates their answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from stentor import log
from stentor.errors import AudioInvalid, SynthesisError
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass, run_pass
from worker.batching.packing import padded_cost
from worker.batching.rows import BatchRow, ClaimedJob, next_take
from worker.engines.contract import Engine, Speech
from worker.finishing import quality
from worker.process.guard import Guard

_log = log.get(__name__)

#: Takes of a segment whose audio is not speech, each with a seed of its own.
MAX_TAKES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassResult:
    """What a forward pass means for its jobs."""

    #: Jobs whose last answer came with this pass.
    complete: Sequence[ClaimedJob]
    #: Rows to speak once more, because their audio was not speech.
    retakes: Sequence[BatchRow]


class BatchRunner:
    """Speaks batches. ``start`` and ``evaluate`` are for one thread; the pass itself runs in another."""

    def __init__(self, budgets: Budgets, guard: Guard, *, on_pass: Callable[[ForwardPass], None]) -> None:
        """``on_pass`` is called with each pass that is evaluated."""
        self._budgets = budgets
        self._guard = guard
        self._on_pass = on_pass
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="speak")

    def start(self, engine: Engine, rows: Sequence[BatchRow]) -> Future[ForwardPass]:
        """Begin a forward pass over these rows."""
        return self._thread.submit(self._run, engine, rows)

    def _run(self, engine: Engine, rows: Sequence[BatchRow]) -> ForwardPass:
        with self._guard.during(rows, engine.info):
            return run_pass(engine, rows)

    def evaluate(self, done: ForwardPass) -> PassResult:
        """Give each job its answers and its share of the device's time, and adapt the budget."""
        self._on_pass(done)
        self._adapt_budget(done)
        unit_s = done.took_s / max(1, sum(row.utterance.cost for row in done.rows))
        for row in done.rows:
            row.claimed.device_s += unit_s * row.utterance.cost
        complete: list[ClaimedJob] = []
        retakes: list[BatchRow] = []
        for row, answer in zip(done.rows, done.answers, strict=True):
            final = _check(done.engine, row, answer)
            if isinstance(final, BatchRow):
                retakes.append(final)
                continue
            row.claimed.record_answer(row.at, final, done.batch)
            if row.claimed.is_complete:
                complete.append(row.claimed)
        return PassResult(complete=complete, retakes=retakes)

    def _adapt_budget(self, done: ForwardPass) -> None:
        info = done.engine.info
        cost = padded_cost([row.utterance.cost for row in done.rows], pads=info.pads)
        if done.out_of_memory:
            self._budgets.halve(info, cost)
        else:
            self._budgets.grow(info, cost)

    def close(self) -> None:
        """End the thread after the running pass."""
        self._thread.shutdown()


def _check(engine: Engine, row: BatchRow, answer: Speech | SynthesisError) -> Speech | SynthesisError | BatchRow:
    """The answer, if it is an error or may be speech; otherwise the row for another take, or the error of the last."""
    if isinstance(answer, SynthesisError):
        return answer
    segment = row.utterance.segment
    try:
        chars = quality.spoken_chars(segment.text)
        quality.check(answer.samples, engine.info.sample_rate_hz, chars, speed=segment.speech.speed)
    except AudioInvalid as exc:
        _log.warning("bad_audio", job_id=row.claimed.job.id, take=row.take, reason=exc.detail)
        if row.take == MAX_TAKES:
            return exc
        try:
            return next_take(row, engine)
        except SynthesisError as refused:
            return refused
    return answer
