"""What the next process of a device does with what the one before left, knowing what that one was doing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.speech.factories import ToneEngine, a_job
from tests.support.work.device import Bench


def dead_in_the_middle(make: Callable[..., Bench], *texts: str) -> Bench:
    """A device whose process ended while it spoke the first of these texts, with the others ready."""
    dead = make(ToneEngine(budget=400))
    jobs = dead.submit(*[a_job(text) for text in texts])
    dead.drain.claim()
    assert len(dead.ready.jobs) == len(texts)
    dead.box.begin(frozenset({jobs[0].id}))
    return dead


def test_only_what_was_being_spoken_is_suspected_and_spoken_alone(make: Callable[..., Bench]) -> None:
    dead = dead_in_the_middle(make, "text one", "text two", "text three", "text four")
    fresh = make(box=dead.box)
    fresh.run()
    assert fresh.engine.batches == [["text one"], ["text two", "text three", "text four"]]
    jobs = fresh.store.list("acme", limit=10).jobs
    assert {job.text: (job.state, job.attempts) for job in jobs} == {
        "text one": ("succeeded", 2),
        "text two": ("succeeded", 1),
        "text three": ("succeeded", 1),
        "text four": ("succeeded", 1),
    }
    assert fresh.nothing_is_left()


def test_a_process_that_ended_between_two_batches_leaves_no_suspects(make: Callable[..., Bench]) -> None:
    dead = dead_in_the_middle(make, "text one", "text two")
    dead.box.end()
    fresh = make(box=dead.box)
    fresh.run()
    assert fresh.engine.batches == [["text one", "text two"]]


@pytest.mark.parametrize(
    ("stack", "out_of_memory", "code"),
    [(b"", False, "engine_crashed"), (b"Timeout", False, "engine_hung"), (b"", True, "out_of_memory")],
)
def test_a_text_that_ended_its_process_too_often_fails_by_how_it_did(
    make: Callable[..., Bench], stack: bytes, out_of_memory: bool, code: str
) -> None:
    bench = dead_in_the_middle(make, "a killer text", "a good text")
    killer, good = bench.store.list("acme", limit=10).jobs[::-1]
    for _ in range(3):
        bench.box.begin(frozenset({killer.id}))
        os.write(bench.box.stack_fd, stack)
        if out_of_memory:
            bench.box.note_out_of_memory()
        bench = make(box=bench.box)
        bench.claims.release(but={killer.id})
        bench.drain._claimer.claim_orphan()
    bench.run()
    assert (bench.now(killer).state, bench.now(killer).error_code) == ("failed", code)
    assert bench.now(good).state == "succeeded"
    assert bench.engine.batches == [["a good text"]]


def test_many_left_in_many_lanes_are_all_released(make: Callable[..., Bench]) -> None:
    dead = make(ToneEngine(budget=100_000))
    jobs = dead.submit(*[a_job("x" * (5 + number % 60)) for number in range(1300)])
    dead.drain.claim()
    held = len(dead.ready.jobs)
    assert held > 1000
    fresh = make(box=dead.box)
    assert fresh.claims.release(but={jobs[0].id}) == held - 1
    assert fresh.claims.release(but={jobs[0].id}) == 0
    orphan = fresh.claims.claim_orphan()
    assert orphan is not None
    assert orphan.job.id == jobs[0].id
    assert fresh.claims.claim_orphan() is not None  # claimed once more: it is still this device's
