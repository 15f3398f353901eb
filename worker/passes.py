"""One forward pass over a batch of rows: every row gets an answer, whatever the engine does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from ulid import ULID

from stentor import log
from stentor.errors import EngineFailed, SynthesisError
from worker.engines.contract import Engine, Speech
from worker.packing import padding
from worker.rows import BatchRef, Row

_log = log.get(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pass:
    """What came of one forward pass."""

    rows: Sequence[Row]
    #: One answer per row, in order.
    answers: Sequence[Speech | SynthesisError]
    batch: BatchRef
    #: Audio made, in seconds.
    audio_s: float
    took_s: float


def speak(engine: Engine, rows: Sequence[Row]) -> Pass:
    """The pass over these rows. An engine that fails as a whole is asked again row by row, so that only the row
    that cannot be spoken fails.
    """
    costs = [row.utterance.cost for row in rows]
    batch = BatchRef(id=f"bat_{ULID()}".lower(), size=len(rows), padding=padding(costs, pads=engine.info.pads))
    started = time.monotonic()
    answers = _answers(engine, rows)
    took_s = time.monotonic() - started
    audio_s = sum(len(answer.samples) for answer in answers if isinstance(answer, Speech)) / engine.info.sample_rate_hz
    _log.info(
        "batch_spoken",
        batch_id=batch.id,
        model=engine.info.model,
        size=batch.size,
        jobs=len({row.parcel.job.id for row in rows}),
        owners=len({row.parcel.job.owner for row in rows}),
        cost=sum(costs),
        padding=round(batch.padding, 4),
        audio_s=round(audio_s, 3),
        took_s=round(took_s, 4),
    )
    return Pass(rows=rows, answers=answers, batch=batch, audio_s=audio_s, took_s=took_s)


def _answers(engine: Engine, rows: Sequence[Row]) -> list[Speech | SynthesisError]:
    try:
        answers = engine.synthesize([row.utterance for row in rows])
    except Exception as exc:  # noqa: BLE001 - the door between engines and jobs: any failure is a row's answer
        if len(rows) == 1:
            _log.warning("row_failed", job_id=rows[0].parcel.job.id, exc_info=True)
            return [exc if isinstance(exc, SynthesisError) else _failed(exc)]
        _log.warning("batch_failed", size=len(rows), reason=str(exc))
        return [_answers(engine, [row])[0] for row in rows]
    if len(answers) != len(rows):
        wrong = EngineFailed(f"the engine gave {len(answers)} answers for {len(rows)} rows")
        return [wrong for _ in rows]
    return answers


def _failed(exc: Exception) -> EngineFailed:
    error = EngineFailed(f"the engine failed on this text: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error
