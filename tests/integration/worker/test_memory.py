"""What a device does when a batch takes more memory than there is, and what it remembers of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import redis

from stentor.errors import OutOfMemory, SynthesisError
from stentor.redis import keys
from tests.support.speech.factories import ToneEngine, a_job
from tests.support.work.device import Bench
from worker.batching.budget import Budgets
from worker.engines.contract import Speech, Utterance


class SmallEngine(ToneEngine):
    """Has room for so many characters at a time."""

    def __init__(self, room: int, *, budget: int) -> None:
        super().__init__(budget=budget)
        self.room = room

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        if sum(row.cost for row in batch) > self.room:
            self.batches.append([f"too much: {len(batch)}"])
            raise OutOfMemory("12 of 8 GB")
        return super().synthesize(batch)


TEXTS = [f"Ten chars{n}" for n in range(8)]


def test_a_batch_that_is_too_much_is_halved_and_nobody_fails(make: Callable[..., Bench]) -> None:
    bench = make(SmallEngine(25, budget=80))
    jobs = bench.submit(*[a_job(text) for text in TEXTS])
    bench.run()
    assert [bench.now(job).state for job in jobs] == ["succeeded"] * 8
    assert [bench.now(job).attempts for job in jobs] == [1] * 8
    assert bench.engine.batches == [
        ["too much: 8"], ["too much: 4"], TEXTS[0:2], TEXTS[2:4], ["too much: 4"], TEXTS[4:6], TEXTS[6:8],
    ]  # fmt: skip


def test_the_budget_is_halved_and_the_next_process_knows_it(make: Callable[..., Bench], client: redis.Redis) -> None:
    bench = make(SmallEngine(45, budget=80))
    bench.submit(*[a_job(text) for text in TEXTS])
    bench.run()
    assert client.hgetall(keys.budgets("testhost/cpu")) == {"tone": "40"}
    bench.submit(*[a_job(text) for text in TEXTS])
    bench.run()
    fresh = make(SmallEngine(45, budget=80))
    assert fresh.budgets.of(fresh.engine.info) in range(40, 44)
    fresh.submit(*[a_job(text) for text in TEXTS])
    fresh.run()
    assert [len(batch) for batch in fresh.engine.batches] == [4, 4]


def test_a_text_that_is_too_much_alone_fails_by_name(make: Callable[..., Bench]) -> None:
    bench = make(SmallEngine(25, budget=80))
    good, large = bench.submit(a_job(TEXTS[0]), a_job("This one text takes more than there is."))
    bench.run()
    assert bench.now(good).state == "succeeded"
    assert (bench.now(large).state, bench.now(large).error_code) == ("failed", "out_of_memory")


def test_a_budget_grows_back_slowly_and_only_with_full_batches(client: redis.Redis) -> None:
    info = ToneEngine(budget=1000).info
    budgets = Budgets(client, "testhost/cpu")
    budgets.halve(info, 800)
    assert budgets.of(info) == 400
    budgets.grow(info, 100)
    assert budgets.of(info) == 400
    budgets.grow(info, 390)
    assert budgets.of(info) == 408
    for _ in range(100):
        budgets.grow(info, budgets.of(info))
    assert budgets.of(info) == 1000
    assert client.hget(keys.budgets("testhost/cpu"), "tone") == "1000"


def test_a_budget_that_redis_does_not_know_is_the_engines(client: redis.Redis) -> None:
    info = ToneEngine(budget=1000).info
    client.hset(keys.budgets("testhost/cpu"), "other", "7")
    assert Budgets(client, "testhost/cpu").of(info) == 1000
    client.hset(keys.budgets("testhost/cpu"), "tone", "5000")
    assert Budgets(client, "testhost/cpu").of(info) == 1000
