"""One forward pass over a batch of rows. Every row gets an answer, whatever the engine does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from ulid import ULID

from stentor import log
from stentor.errors import EngineFailed, OutOfMemory, SynthesisError
from worker.batching.packing import padding
from worker.batching.rows import BatchRef, BatchRow
from worker.engines.contract import Engine, Speech

_log = log.get(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """A forward pass that is over."""

    engine: Engine
    rows: Sequence[BatchRow]
    #: One answer per row, in order.
    answers: Sequence[Speech | SynthesisError]
    batch: BatchRef
    #: Length of the audio, in seconds.
    audio_s: float
    took_s: float
    #: Whether the batch was too large for the device's memory, and was spoken in parts.
    out_of_memory: bool


def run_pass(engine: Engine, rows: Sequence[BatchRow]) -> ForwardPass:
    """The pass over these rows, with one answer per row.

    A batch that memory does not suffice for is halved, and halved again. If an engine fails as a whole in another way,
    it is asked again row by row, so that only the row that cannot be spoken fails.
    """
    costs = [row.utterance.cost for row in rows]
    batch = BatchRef(id=f"bat_{ULID()}".lower(), size=len(rows), padding=padding(costs, pads=engine.info.pads))
    started = time.monotonic()
    shortages: list[int] = []
    answers = _synthesize(engine, rows, shortages)
    took_s = time.monotonic() - started
    audio_s = sum(len(answer.samples) for answer in answers if isinstance(answer, Speech)) / engine.info.sample_rate_hz
    _log.info(
        "batch_spoken",
        batch_id=batch.id,
        model=engine.info.model,
        size=batch.size,
        jobs=len({row.claimed.job.id for row in rows}),
        owners=len({row.claimed.job.owner for row in rows}),
        cost=sum(costs),
        padding=round(batch.padding, 4),
        audio_s=round(audio_s, 3),
        took_s=round(took_s, 4),
    )
    return ForwardPass(
        engine=engine,
        rows=rows,
        answers=answers,
        batch=batch,
        audio_s=audio_s,
        took_s=took_s,
        out_of_memory=bool(shortages),
    )


def _synthesize(engine: Engine, rows: Sequence[BatchRow], shortages: list[int]) -> Sequence[Speech | SynthesisError]:
    try:
        answers = engine.synthesize([row.utterance for row in rows])
    except (MemoryError, OutOfMemory) as exc:
        shortages.append(len(rows))
        _log.warning("batch_out_of_memory", size=len(rows), reason=str(exc))
        if len(rows) == 1:
            return [_as_out_of_memory(exc)]
        middle = len(rows) // 2
        return [*_synthesize(engine, rows[:middle], shortages), *_synthesize(engine, rows[middle:], shortages)]
    except Exception as exc:  # noqa: BLE001 - the door between engines and jobs: any failure is a row's answer
        if len(rows) == 1:
            _log.warning("row_failed", job_id=rows[0].claimed.job.id, exc_info=True)
            return [_as_synthesis_error(exc)]
        _log.warning("batch_failed", size=len(rows), reason=str(exc))
        return [_synthesize(engine, [row], shortages)[0] for row in rows]
    if len(answers) != len(rows):
        return [EngineFailed(f"The engine gave {len(answers)} answers for {len(rows)} rows.")] * len(rows)
    return answers


def _as_out_of_memory(exc: MemoryError | OutOfMemory) -> OutOfMemory:
    if isinstance(exc, OutOfMemory):
        return exc
    error = OutOfMemory(f"This text alone takes more memory than the device has: {exc}")
    error.__cause__ = exc
    return error


def _as_synthesis_error(exc: Exception) -> SynthesisError:
    if isinstance(exc, SynthesisError):
        return exc
    error = EngineFailed(f"The engine failed on this text: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error
