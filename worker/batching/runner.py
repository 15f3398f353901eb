"""The speaker: runs forward passes, one at a time, in a thread of its own, and takes their answers in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from stentor import log
from stentor.errors import AudioInvalid, SynthesisError
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass, speak
from worker.batching.packing import padded_cost
from worker.batching.rows import BatchRow, another_take
from worker.claiming.ready_queue import ReadyQueue
from worker.engines.contract import Engine, Speech
from worker.finishing import quality
from worker.finishing.finisher import Finisher
from worker.process.guard import Guard

_log = log.get(__name__)

#: Takes of a segment whose audio is no speech, each with a seed of its own.
MAX_TAKES = 2

Answer = Speech | SynthesisError


class BatchRunner:
    """Speaks batches. ``start`` and ``take_in`` are for one thread; the pass itself runs in another."""

    def __init__(
        self,
        ready: ReadyQueue,
        finisher: Finisher,
        budgets: Budgets,
        guard: Guard,
        *,
        spoke: Callable[[ForwardPass], None],
    ) -> None:
        self._ready = ready
        self._finisher = finisher
        self._budgets = budgets
        self._guard = guard
        self._spoke = spoke
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="speak")

    def start(self, engine: Engine, rows: Sequence[BatchRow]) -> Future[ForwardPass]:
        """Begin a forward pass over these rows."""
        return self._thread.submit(self._guarded, engine, rows)

    def _guarded(self, engine: Engine, rows: Sequence[BatchRow]) -> ForwardPass:
        with self._guard.during(rows, engine.info):
            return speak(engine, rows)

    def take_in(self, done: ForwardPass) -> None:
        """Look at every answer: jobs that are complete are handed in, what is no speech is to be spoken once more."""
        self._spoke(done)
        self._learn(done)
        unit_s = done.took_s / max(1, sum(row.utterance.cost for row in done.rows))
        for row in done.rows:
            row.claimed.device_s += unit_s * row.utterance.cost
        for row, answer in zip(done.rows, done.answers, strict=True):
            checked = self._checked(done.engine, row, answer)
            if checked is not None and row.claimed.take(row.at, checked, done.batch):
                self._finisher.hand_in(row.claimed)
                self._ready.drop(row.claimed)

    def _learn(self, done: ForwardPass) -> None:
        info = done.engine.info
        cost = padded_cost([row.utterance.cost for row in done.rows], pads=info.pads)
        if done.out_of_memory:
            self._budgets.halve(info, cost)
        else:
            self._budgets.went_well(info, cost)

    def _checked(self, engine: Engine, row: BatchRow, answer: Answer) -> Answer | None:
        """The answer, if it is an error or may be speech; None if the row is back in hand, for another take."""
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
                self._ready.rows.append(another_take(row, engine))
            except SynthesisError as refused:
                return refused
            return None
        return answer

    def close(self) -> None:
        """End the thread, after the pass that runs."""
        self._thread.shutdown()
