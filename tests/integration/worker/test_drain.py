"""A device's drain against a real Redis and S3, with an engine that makes tones."""

from __future__ import annotations

import dataclasses
import io
import itertools
import threading
import time
from collections.abc import Callable, Sequence

import pytest
import soundfile

from stentor.errors import EngineFailed, SynthesisError
from stentor.jobs.job import Job
from stentor.redis import keys
from stentor.redis.client import text_map
from stentor.storage.s3 import Storage
from tests.support.speech.factories import TONE, ToneEngine, ToneUtterance, a_job
from tests.support.work.device import Bench
from worker.engines.contract import Segment, Speech, Utterance


class StumblingEngine(ToneEngine):
    def __init__(self) -> None:
        super().__init__()
        self.stumbled = threading.Event()

    def prepare(self, segment: Segment) -> ToneUtterance:
        if segment.text == "odd":
            self.stumbled.set()
            raise ValueError("nobody thought of this")
        return super().prepare(segment)


class TornEngine(ToneEngine):
    """Notes if it was taken off the device while it spoke."""

    speaks = torn = False

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        self.speaks = True
        try:
            return super().synthesize(batch)
        finally:
            self.speaks = False

    def unload(self) -> None:
        self.torn = self.torn or self.speaks
        super().unload()


class WeightlessEngine(ToneEngine):
    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        raise OSError("no such weights")


def test_texts_of_two_clients_that_wait_together_are_spoken_in_one_batch(
    make: Callable[..., Bench], storage: Storage
) -> None:
    bench = make()
    jobs = bench.submit(a_job("One text for you.", owner="acme"), a_job("Another text for me.", owner="other"))
    assert bench.run() is False
    first, second = map(bench.now, jobs)
    assert bench.engine.batches == [["One text for you.", "Another text for me."]]
    assert first.state == second.state == "succeeded"
    assert first.batch_id == second.batch_id
    assert (first.batch_size, first.batch_padding) == (2, 0.0)
    assert first.attempts == 1
    assert first.audio_s == 1.7
    samples, rate_hz = soundfile.read(io.BytesIO(storage.get(first.audio_key or "")))
    assert (len(samples), rate_hz) == (27_200, 16_000)
    assert bench.nothing_is_left()


def test_how_long_jobs_took_is_counted_by_priority_in_powers_of_2(make: Callable[..., Bench]) -> None:
    bench, now = make(), time.time()
    bench.submit(
        a_job("A moment ago."),
        a_job("A while ago.", created_at=now - 100),
        a_job("poison", created_at=now - 100),
        a_job("Long ago.", created_at=now - 100_000, priority="bulk"),
        a_job("By a clock that goes ahead.", created_at=now + 100),
    )
    bench.run()
    counts = text_map(bench.client.hgetall(keys.OUTCOMES))
    assert (counts["took:standard:7"], counts["took:bulk:17"]) == ("2", "1")  # 64 s to 128 s; more than 65,536 s
    standard = {name: int(count) for name, count in counts.items() if name.startswith("took:standard:")}
    assert sum(standard.values()) == 4
    assert standard["took:standard:-2"] >= 1
    assert 200_000 <= int(counts["took_ms:standard"]) < 230_000


def test_padding_is_told_for_an_engine_that_pads(make: Callable[..., Bench]) -> None:
    bench = make(ToneEngine(pads=True))
    jobs = bench.submit(a_job("a" * 10), a_job("b" * 16))
    bench.run()
    assert bench.now(jobs[0]).batch_padding == 0.1875  # (2 * 16 - 26) / 32


def test_a_backlog_larger_than_the_budget_is_spoken_in_several_batches(make: Callable[..., Bench]) -> None:
    bench = make(ToneEngine(budget=100))
    jobs = bench.submit(*[a_job(f"Text number {number:03}.") for number in range(23)])
    bench.run()
    assert [len(batch) for batch in bench.engine.batches] == [6, 6, 6, 5]
    assert sorted(itertools.chain(*bench.engine.batches)) == [job.text for job in jobs]
    assert {bench.now(job).state for job in jobs} == {"succeeded"}


def test_a_poison_text_fails_alone(make: Callable[..., Bench]) -> None:
    bench = make()
    good, poison, silent = bench.submit(a_job("good"), a_job("poison"), a_job("nan"))
    bench.run()
    assert bench.engine.batches == [["good", "poison", "nan"], ["nan"]]  # what is no speech is taken once more
    assert bench.now(good).state == "succeeded"
    assert (bench.now(poison).state, bench.now(poison).error_code) == ("failed", "engine_failed")
    assert bench.now(poison).error_detail == "this text is poison"
    assert (bench.now(silent).state, bench.now(silent).error_code) == ("failed", "audio_invalid")


def test_a_text_that_an_engine_stumbles_over_before_the_pass_fails_alone(make: Callable[..., Bench]) -> None:
    engine = StumblingEngine()
    bench = make(engine)
    stumbled: list[Job] = []

    def something_odd(_texts: object) -> None:
        # It comes while another is spoken, so that it is prepared beside the pass.
        stumbled.extend(bench.submit(a_job("odd")))
        assert engine.stumbled.wait(10)

    engine.on_batch = something_odd
    (first,) = bench.submit(a_job("first"))
    bench.run()
    assert bench.now(first).state == "succeeded"
    assert (bench.now(stumbled[0]).state, bench.now(stumbled[0]).error_code) == ("failed", "engine_failed")
    assert bench.nothing_is_left()


def test_no_model_leaves_the_device_in_the_middle_of_its_own_pass(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = TornEngine(), ToneEngine()
    bench = make(mine, device_memory_gb=4)
    for engine, model in ((mine, TONE), (other, "other")):
        engine.info = dataclasses.replace(engine.info, model=model, memory_bytes=3 * 10**9)
        engine.voices = (dataclasses.replace(engine.voices[0], name=model, model=model),)
        bench.residency.engines[model] = engine
    urgent: list[Job] = []
    looked, has_room = threading.Event(), bench.residency.has_room

    def asked(model: str) -> bool:
        if model == "other":
            looked.set()
        return has_room(model)

    monkeypatch.setattr(bench.residency, "has_room", asked)

    def something_urgent(_texts: object) -> None:
        if not urgent:
            urgent.extend(bench.submit(a_job("At once!", priority="interactive", model="other", voice="other")))
        assert looked.wait(10)

    mine.on_batch = something_urgent
    jobs = bench.submit(*[a_job("x" * 80, priority="bulk", seed=number) for number in range(20)])
    bench.run()
    assert not mine.torn
    assert {bench.now(job).state for job in [*jobs, *urgent]} == {"succeeded"}
    # It was spoken after the very pass that it came in.
    settled_at = sorted(bench.now(job).settled_at or 0.0 for job in jobs)
    assert sum(at < (bench.now(urgent[0]).settled_at or 0.0) for at in settled_at) <= 10


def test_a_text_that_takes_its_batch_down_is_found_and_fails_alone(make: Callable[..., Bench]) -> None:
    bench = make()
    jobs = bench.submit(a_job("good"), a_job("batchbreaker"), a_job("fine"))
    bench.run()
    assert [bench.now(job).state for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert "the whole batch is lost" in (bench.now(jobs[1]).error_detail or "")


def test_a_long_text_is_spoken_in_segments_and_joined_with_pauses(make: Callable[..., Bench]) -> None:
    bench = make()
    text = " ".join(f"This is sentence number {number} of a long text that goes on." for number in range(5))
    (job,) = bench.submit(a_job(text))
    bench.run()
    (segments,) = bench.engine.batches
    assert len(segments) == 5
    done = bench.now(job)
    spoken_s = sum(len(segment) for segment in segments) / 10
    assert done.state == "succeeded"
    assert spoken_s + 4 * 0.2 <= (done.audio_s or 0) <= spoken_s + 4 * 0.8


def test_an_interactive_text_joins_the_very_next_batch(make: Callable[..., Bench]) -> None:
    bench = make(ToneEngine(budget=100))
    bench.submit(*[a_job(f"Bulk text number {number:03}.", priority="bulk") for number in range(20)])

    def someone_calls(_: object) -> None:
        if len(bench.engine.batches) == 1:
            bench.submit(*[a_job(f"I am in a hurry {n}!", priority="interactive") for n in range(3)])
            time.sleep(0.1)  # and the pass goes on for a while

    bench.engine.on_batch = someone_calls
    bench.run()
    assert bench.engine.batches[1][-3:] == [f"I am in a hurry {n}!" for n in range(3)]


def test_an_interactive_text_is_not_kept_waiting_by_a_backlog_that_is_late(make: Callable[..., Bench]) -> None:
    bench = make(ToneEngine(budget=100), bulk_max_wait_s=1e-6)
    bench.submit(*[a_job(f"Bulk text number {number:03}.", priority="bulk") for number in range(20)])
    bench.submit(*[a_job(f"I am in a hurry {n}!", priority="interactive") for n in range(4)])
    bench.run()
    assert bench.engine.batches[0] == ["Bulk text number 000.", *[f"I am in a hurry {n}!" for n in range(4)]]
    assert bench.nothing_is_left()


def test_a_free_device_waits_the_merge_window_for_company(make: Callable[..., Bench]) -> None:
    bench = make(merge_window_ms=500)
    bench.submit(a_job("The first text."))
    late = threading.Timer(0.15, lambda: bench.submit(a_job("The second text.")))
    late.start()
    bench.run()
    late.join()
    assert bench.engine.batches == [["The first text.", "The second text."]]


def test_the_same_job_twice_gives_the_same_bytes(make: Callable[..., Bench]) -> None:
    bench = make()
    first, second = bench.submit(a_job("Same text.", seed=7), a_job("Same text.", seed=7))
    bench.run()
    assert bench.now(first).sha256 == bench.now(second).sha256


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg"])
def test_every_format_is_stored_at_the_rate_that_was_asked_for(
    make: Callable[..., Bench], storage: Storage, form: str
) -> None:
    bench = make()
    (job,) = bench.submit(a_job("Any text will do.", format=form, sample_rate_hz=24_000))
    bench.run()
    done = bench.now(job)
    assert done.audio_key is not None
    assert done.audio_key.endswith(f"/{job.id}.{form}")
    samples, rate_hz = soundfile.read(io.BytesIO(storage.get(done.audio_key)))
    assert rate_hz == 24_000
    assert abs(len(samples) / rate_hz - 1.7) < 0.1
    assert abs(samples).max() > 0.3


def test_a_fresh_process_takes_back_what_the_last_one_held_and_speaks_each_alone(
    make: Callable[..., Bench],
) -> None:
    dead = make()
    jobs = dead.submit(a_job("text one"), a_job("text two"), a_job("text three"))
    assert len(dead.claims.claim(next(iter(dead.backlog.lanes())).lane, 2)) == 2
    fresh = make()
    fresh.run()
    assert fresh.engine.batches == [["text one"], ["text two"], ["text three"]]
    assert [fresh.now(job).state for job in jobs] == ["succeeded"] * 3
    assert [fresh.now(job).attempts for job in jobs] == [2, 2, 1]
    assert fresh.nothing_is_left()


def test_a_job_that_ended_its_process_too_often_fails_by_name(make: Callable[..., Bench]) -> None:
    bench = make()
    (job,) = bench.submit(a_job("a killer text"))
    for _ in range(3):
        drain = make().drain
        if drain._claimer.claim_orphan() is None:
            drain.claim()
    bench.run()
    done = bench.now(job)
    assert (done.state, done.error_code, done.error_retryable) == ("failed", "engine_crashed", True)
    assert bench.engine.batches == []
    assert bench.nothing_is_left()


def test_a_model_that_does_not_load_costs_an_orphan_no_attempt(make: Callable[..., Bench]) -> None:
    (job,) = make().submit(a_job("left in hand"))
    make().drain.claim()
    broken = make(WeightlessEngine())
    for _ in range(3):
        with pytest.raises(EngineFailed, match="no such weights"):
            broken.run()
    mended = make()
    mended.run()
    assert mended.now(job).state == "succeeded"
    assert mended.now(job).attempts == 2


def test_jobs_of_a_vanished_host_are_claimed_by_another_after_its_lease(make: Callable[..., Bench]) -> None:
    vanished = make(name="gone/cpu", lease_s=0.3)
    (job,) = vanished.submit(a_job("left behind"))
    vanished.drain.claim()
    other = make(name="here/cpu", lease_s=0.3)
    other.run()
    assert other.now(job).state == "running"
    time.sleep(0.35)
    other.run()
    assert (other.now(job).state, other.now(job).device) == ("succeeded", "here/cpu")


def test_a_held_job_is_not_taken_for_lost(make: Callable[..., Bench]) -> None:
    holder = make(name="slow/cpu", lease_s=0.4)
    (job,) = holder.submit(a_job("takes its time"))
    holder.drain.claim()
    for _ in range(6):
        time.sleep(0.1)
        holder.claims.refresh(holder.held())
    other = make(name="here/cpu", lease_s=0.4)
    other.run()
    assert other.engine.batches == []
    holder.run()
    assert holder.now(job).device == "slow/cpu"


def test_a_delivery_that_was_overtaken_cannot_settle(make: Callable[..., Bench]) -> None:
    slow = make(name="slow/cpu")
    (job,) = slow.submit(a_job("spoken twice, settled once"))

    def overtake(_: object) -> None:
        time.sleep(0.15)
        fast = make(name="fast/cpu", lease_s=0.1)
        fast.run()

    slow.engine.on_batch = overtake
    slow.run()
    assert (slow.now(job).state, slow.now(job).device, slow.now(job).attempts) == ("succeeded", "fast/cpu", 2)
    assert slow.discarded == [job.id]
    assert slow.client.xlen(keys.EVENTS) == 1


def test_a_job_whose_lease_ran_out_in_our_own_hands_is_kept_and_spoken_once(make: Callable[..., Bench]) -> None:
    bench = make(lease_s=0.5)
    (job,) = bench.submit(a_job("nobody refreshed me"))
    bench.engine.on_batch = lambda _: time.sleep(1.2)
    bench.run()
    assert bench.engine.batches == [["nobody refreshed me"]]
    assert (bench.now(job).state, bench.now(job).attempts) == ("succeeded", 1)
    assert bench.nothing_is_left()


def test_a_stop_finishes_the_batch_and_gives_the_rest_back_without_counting_an_attempt(
    make: Callable[..., Bench],
) -> None:
    bench = make(ToneEngine(budget=50))
    jobs = bench.submit(*[a_job(f"Text number {number:03}.") for number in range(9)])
    bench.engine.on_batch = lambda _: bench.stopping.set()
    assert bench.run() is True
    states = [bench.now(job).state for job in jobs]
    assert states == ["succeeded"] * 3 + ["queued"] * 6
    assert {bench.now(job).attempts for job in jobs[3:]} == {0}
    other = make(name="here/cpu")
    other.run()
    assert {other.now(job).state for job in jobs} == {"succeeded"}
    assert {other.now(job).attempts for job in jobs} == {1}
    assert other.engine.batches[0][0] == "Text number 003."


def test_a_drain_whose_time_is_over_says_that_work_is_left_and_the_next_goes_on_with_the_same_hand(
    make: Callable[..., Bench],
) -> None:
    bench = make(ToneEngine(budget=50), drain_s=0.3)
    jobs = bench.submit(*[a_job(f"Text number {number:03}.") for number in range(20)])
    bench.engine.on_batch = lambda _: time.sleep(0.2)
    assert bench.run() is True
    held = [claim.job.id for claim in bench.held()]
    assert held
    assert {bench.now(job).state for job in jobs} == {"succeeded", "running", "queued"}
    while bench.run():
        pass
    assert {(bench.now(job).state, bench.now(job).attempts) for job in jobs} == {("succeeded", 1)}
    assert [len(batch) for batch in bench.engine.batches] == [3] * 6 + [2]


def test_a_device_that_is_unloaded_lets_go_of_what_it_holds(make: Callable[..., Bench]) -> None:
    bench = make(ToneEngine(budget=50), drain_s=0.1)
    jobs = bench.submit(*[a_job(f"Text number {number:03}.") for number in range(9)])
    bench.engine.on_batch = lambda _: time.sleep(0.15)
    bench.run()
    bench.drain.let_go()
    assert not bench.ready.jobs
    assert [bench.now(job).attempts for job in jobs] == [1] * 3 + [0] * 6


def test_a_job_whose_model_is_not_here_waits_for_a_device_that_has_it(make: Callable[..., Bench]) -> None:
    bench = make()
    (job,) = bench.submit(a_job("for another model", model="other"))
    assert bench.run() is False  # nobody rings for it again and again
    assert bench.now(job).state == "queued"


def test_an_empty_drain_returns_at_once(make: Callable[..., Bench]) -> None:
    started = time.monotonic()
    assert make().run() is False
    assert time.monotonic() - started < 10


def test_a_text_whose_model_is_resident_elsewhere_is_left_there_and_the_doorbell_rung_on(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.elsewhere = {"tone"}
    (job,) = bench.submit(a_job("Somebody else is ready for this."))
    assert bench.run() is True  # whoever runs a drain rings when it says that work is left
    assert bench.now(job).state == "queued"
    time.sleep(1.1)
    assert bench.run() is False
    assert bench.now(job).state == "succeeded"
