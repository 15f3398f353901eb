"""Warm-up: one batch as large as any that will come, so that memory runs out at the start and not at noon."""

from __future__ import annotations

from stentor import log
from stentor.errors import EngineFailed, OutOfMemory, SynthesisError
from worker.engines.contract import Engine, Segment

_log = log.get(__name__)

#: A text of which there is enough to say in any language that is written with these letters.
TEXT = "One, two, three, four, five, six, seven, eight, nine, ten. "
#: So small a share of the engine's budget is not worth a device.
SMALLEST = 1 / 16


def warm_up(engine: Engine) -> int:
    """Speak a batch that costs the whole budget, or half, or a quarter; the padded cost that went well.

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
            raise EngineFailed(f"the warm-up batch failed: {errors[0]}") from errors[0]
        return count * row.cost
    raise EngineFailed(f"not even a batch of {cost * 2} of {budget} units fits into the memory of this device")
