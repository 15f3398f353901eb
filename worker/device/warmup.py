"""Warm-up: one batch as large as any that will come, so that a lack of memory shows at the start and not at noon."""

from __future__ import annotations

from stentor import log
from stentor.errors import EngineFailed, OutOfMemory, SynthesisError
from worker.engines.contract import Engine, Segment

_log = log.get(__name__)

#: A text that voices of every language that is written in Latin letters can speak at length.
TEXT = "One, two, three, four, five, six, seven, eight, nine, ten. "
#: A device that has memory for only a smaller share of the engine's budget is not worth using.
SMALLEST = 1 / 16


def warm_up(engine: Engine) -> int:
    """Speak a batch that costs the whole budget, or half, or a quarter ..., and return the padded cost that fitted.

    Raises:
        EngineFailed: not even a sixteenth of the budget fits into memory, or the model does not speak.
    """
    budget = engine.info.budget
    row = engine.prepare(Segment.of((TEXT * 5)[: engine.info.segment_chars], engine.voices[0]))
    cost = budget
    while cost >= max(1, budget * SMALLEST):
        count = max(1, cost // row.cost)
        try:
            answers = engine.synthesize([row] * count)
        except (MemoryError, OutOfMemory) as exc:
            _log.warning("warm_up_out_of_memory", model=engine.info.model, cost=cost, reason=str(exc))
            cost //= 2
            continue
        errors = [answer for answer in answers if isinstance(answer, SynthesisError)]
        if errors:
            raise EngineFailed(f"The warm-up batch failed: {errors[0]}") from errors[0]
        return count * row.cost
    raise EngineFailed(
        f"Not even a batch of cost {cost * 2} (the budget is {budget}) fits into the memory of this device."
    )
