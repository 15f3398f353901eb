"""Waiting for outcomes, of which a thread hears from a real Redis."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from api.waiting.outcomes import LOOK_EVERY_S, Outcomes
from stentor.redis import keys
from tests.support.stacks.stack import eventually

ID = "job_awaited"


def listeners() -> int:
    """How many threads read the events."""
    return sum(thread.name == "outcomes" for thread in threading.enumerate())


def test_nobody_reads_the_events_while_nobody_waits(client: redis.Redis) -> None:
    outcomes, others = Outcomes(client), listeners()
    for _ in range(2):
        assert not outcomes.wait(ID, lambda: False, 0.2, over=bool)
        assert listeners() > others
        eventually(lambda: listeners() <= others, 10)


def test_an_outcome_that_comes_before_the_thread_reads_is_not_missed(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, newest, others = threading.Event(), client.xrevrange, listeners()
    looks: list[bool] = []

    def look() -> bool:
        looks.append(settled.is_set())
        if len(looks) == 2:  # from now on somebody waits, who has seen no outcome
            client.xadd(keys.EVENTS, {"id": ID})
            settled.set()
        return looks[-1]

    monkeypatch.setattr(client, "xrevrange", lambda *args, **rest: settled.wait(10) and newest(*args, **rest))
    began_s = time.monotonic()
    assert Outcomes(client).wait(ID, look, 30, over=bool)
    assert time.monotonic() - began_s < LOOK_EVERY_S
    eventually(lambda: listeners() <= others, 10)
