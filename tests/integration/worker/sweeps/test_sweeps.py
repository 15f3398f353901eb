"""Sweeps on a real Valkey: what is stuck is put right once, and what is healthy is left alone."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from scheduler.sweeping import Sweeps
from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk
from stentor.devices.overrides import OverrideStore
from stentor.devices.registry import DeviceRegistry, DeviceStatus
from stentor.doorbell import Doorbell, create_celery
from stentor.errors import JobSettled
from stentor.jobs.job import Job, JobState, Outcome
from stentor.jobs.lanes import Lane
from stentor.jobs.records import job_items
from stentor.jobs.store import JobStore
from stentor.redis import keys
from stentor.settings import Settings
from stentor.voices.recording import Recording
from stentor.webhooks.webhook import Endpoint
from tests.conftest import register_voice
from tests.support.speech.factories import TONE, a_job
from tests.support.work.device import Bench
from tests.support.work.feeding import Bulks
from tests.support.work.sweeping import a_round, contents, swept
from worker.bulks.feeder import Feeder
from worker.claiming.claims import Claim, Claims
from worker.sweeps.fence import Fence, SweepOvertaken
from worker.sweeps.strays import put_back
from worker.sweeps.sweeping import sweep, sweep_all

DAY_S = 86_400.0


def held(bench: Bench, job: Job) -> Claim:
    """The job, in the hands of a device."""
    found = [one for one in bench.claims.claim(Lane.from_key(job.lane), 100) if one.job.id == job.id]
    return found[0]


def entries(client: redis.Redis, job: Job) -> list[str]:
    """The job's entries in its lane."""
    found: Any = client.xrange(job.lane)
    return [entry for entry, fields in found if fields["job"] == job.id]


def outcomes_told(client: redis.Redis, job: Job) -> int:
    found: Any = client.xrange(keys.EVENTS)
    return sum(fields["id"] == job.id for _, fields in found)


# --- strays


def acknowledge(client: redis.Redis, job: Job) -> None:
    client.xack(job.lane, keys.GROUP, entries(client, job)[0])


def remove(client: redis.Redis, job: Job) -> None:
    client.xdel(job.lane, entries(client, job)[0])


def acknowledge_and_remove(client: redis.Redis, job: Job) -> None:
    acknowledge(client, job)
    remove(client, job)


def skip(client: redis.Redis, job: Job) -> None:
    client.xgroup_setid(job.lane, keys.GROUP, "$")


def remove_lane(client: redis.Redis, job: Job) -> None:
    client.delete(job.lane)
    client.srem(keys.LANES, job.lane)


def remove_lane_only(client: redis.Redis, job: Job) -> None:
    client.delete(job.lane)


def remove_group(client: redis.Redis, job: Job) -> None:
    client.xgroup_destroy(job.lane, keys.GROUP)


def forget_lane(client: redis.Redis, job: Job) -> None:
    client.srem(keys.LANES, job.lane)


@pytest.mark.parametrize(
    "break_it", [acknowledge, remove, acknowledge_and_remove, remove_lane, remove_lane_only, remove_group]
)
def test_a_running_job_that_nobody_holds_is_spoken_once(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], break_it: Callable[[redis.Redis, Job], None]
) -> None:
    bench = make()
    job = bench.submit(a_job(key_id="k1"))[0]
    held(bench, job)
    break_it(client, job)
    swept(client, settings)
    swept(client, settings)
    assert len(entries(client, job)) == 1
    bench.run()
    now = bench.now(job)
    assert (now.state, now.attempts) == ("succeeded", 2)
    assert outcomes_told(client, job) == 1
    assert bench.engine.batches == [[job.text]]
    assert bench.nothing_is_left()
    assert client.exists(keys.waiting("k1"), keys.jobs("acme", keys.OPEN), keys.jobs("acme", "running")) == 0


@pytest.mark.parametrize("break_it", [remove, skip, remove_lane, remove_lane_only, remove_group, forget_lane])
def test_a_queued_job_that_no_device_would_get_is_spoken_once(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], break_it: Callable[[redis.Redis, Job], None]
) -> None:
    bench = make()
    job = bench.submit(a_job())[0]
    break_it(client, job)
    swept(client, settings)
    after_one = contents(client)
    swept(client, settings)
    assert contents(client) == after_one
    assert len(entries(client, job)) == 1
    bench.run()
    assert (bench.now(job).state, bench.now(job).attempts) == ("succeeded", 1)
    assert outcomes_told(client, job) == 1


def test_a_stray_goes_back_as_it_was_and_keeps_its_attempts(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    job = bench.submit(a_job())[0]
    held(bench, job)
    before = bench.now(job)
    acknowledge(client, job)
    # Its old entry goes in the same step, not with a look at the lane.
    assert put_back(a_round(client, settings), [job.id]) == []
    after = bench.now(job)
    assert (after.state, after.attempts, after.started_at, after.device) == ("queued", 1, None, None)
    assert (after.text, after.lane, after.created_at) == (job.text, job.lane, before.created_at)
    assert entries(client, job) == [after.entry] != [before.entry]


def test_who_held_a_stray_before_records_nothing_afterwards(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    slow, other = make(), make(name="testhost/cuda:0")
    job = slow.submit(a_job())[0]
    void = held(slow, job)
    acknowledge(client, job)
    swept(client, settings)
    late = Outcome(state=JobState.FAILED, fields={"error_code": "late", "error_detail": "", "error_retryable": False})
    assert not slow.claims.settle(void, late)
    held(other, job)
    assert not slow.claims.settle(void, late)
    assert slow.now(job).state == "running"


def test_what_has_just_entered_its_lane_is_left_alone(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    jobs = bench.submit(a_job("one"), a_job("another one that is longer"))
    remove(client, jobs[0])
    skip(client, jobs[1])
    before = contents(client)
    swept(client, settings, later_s=30)
    assert contents(client) == before


def test_what_waits_is_held_or_was_given_back_is_left_alone(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    register_voice(client)
    bench = make()
    jobs = bench.submit(*(a_job(f"text {number}", key_id="k1") for number in range(30)))
    taken = bench.claims.claim(Lane.from_key(jobs[0].lane), 10)
    bench.claims.give_back(taken[:5])
    bench.store.cancel(jobs[20].id, "acme")
    bulk = Bulks(client, settings).of_texts(*(f"row {number}" for number in range(20)))
    feeder = Feeder(settings)
    feeder.tick(time.time())
    bench.claims.claim(Lane(model=TONE, priority="bulk", length=0), 5)
    before = contents(client)
    assert len(before[keys.open_chunks(bulk.id)]) == 1
    for _ in range(3):
        swept(client, settings, later_s=DAY_S / 2)
    assert contents(client) == before


# --- rows of bulks


@pytest.fixture
def feeder(client: redis.Redis, settings: Settings) -> Feeder:
    register_voice(client)
    return Feeder(settings.model_copy(update={"bulk_window": 1000}))


def finish(bulks_: Bulks, feeder: Feeder, bench: Bench, bulk: Bulk) -> Bulk:
    for _ in range(20):
        feeder.tick(time.time())
        bench.run()
        if bulks_.now(bulk).ended:
            break
    return bulks_.now(bulk)


def test_rows_that_nobody_would_get_are_spoken_and_counted_once(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], feeder: Feeder
) -> None:
    made, bench = Bulks(client, settings), make()
    bulk = made.of_texts(*(f"row {number}" for number in range(1, 41)))
    feeder.tick(time.time())
    lane = Lane(model=TONE, priority="bulk", length=0)
    taken = bench.claims.claim(lane, 5)
    client.xack(lane.key, keys.GROUP, taken[0].entry, taken[1].entry)
    client.xdel(lane.key, taken[1].entry)
    waiting = client.hget(keys.job(bulks.job_id(bulk.id, 30)), "entry")
    client.xdel(lane.key, str(waiting))
    swept(client, settings)
    assert client.xlen(lane.key) == 40
    swept(client, settings)
    assert client.xlen(lane.key) == 40
    bench.claims.give_back(taken[2:])
    now = finish(made, feeder, bench, bulk)
    assert (now.state, now.settled, now.succeeded, now.in_lanes) == ("succeeded", 40, 40, 0)


def test_rows_that_were_put_in_and_are_nowhere_enter_again(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], feeder: Feeder
) -> None:
    made, bench = Bulks(client, settings), make()
    bulk = made.of_texts(*(f"row {number}" for number in range(1, 41)))
    feeder.tick(time.time())
    lane = Lane(model=TONE, priority="bulk", length=0)
    for claim in bench.claims.claim(lane, 4)[:3]:
        client.delete(keys.job(claim.job.id))
        client.xack(lane.key, keys.GROUP, claim.entry)
    swept(client, settings)
    now = made.now(bulk)
    assert now.in_lanes == 37
    assert client.hgetall(keys.open_chunks(bulk.id)) == {"0": "0"}
    assert client.xlen(lane.key) == 37
    bench.claims.release(but=())
    now = finish(made, feeder, bench, bulk)
    assert (now.state, now.settled, now.succeeded, now.in_lanes) == ("succeeded", 40, 40, 0)


def test_a_bulk_that_the_feeder_has_forgotten_is_taken_up_again(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], feeder: Feeder
) -> None:
    made = Bulks(client, settings)
    bulk = made.of_texts("one", "two")
    client.delete(keys.ACTIVE_BULKS)
    swept(client, settings)
    assert finish(made, feeder, make(), bulk).state == "succeeded"
    before = contents(client)
    swept(client, settings)
    assert contents(client) == before


# --- entries and lanes


def test_entries_that_no_job_needs_are_taken_out(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    spoken = bench.submit(a_job("spoken"))[0]
    bench.run()
    running, gone, waiting = bench.submit(a_job("runs"), a_job("gone"), a_job("waits"))
    bench.claims.claim(Lane.from_key(running.lane), 1)
    client.xreadgroup(keys.GROUP, "testhost/cuda:7", {gone.lane: ">"}, count=1)
    client.delete(keys.job(gone.id))
    for job in (spoken, running, waiting):
        client.xadd(job.lane, {"job": job.id})
    assert client.xlen(spoken.lane) == 6
    swept(client, settings)
    assert [len(entries(client, job)) for job in (gone, spoken, running, waiting)] == [0, 0, 1, 1]
    assert entries(client, waiting) == [bench.now(waiting).entry]
    bench.claims.release(but=())
    bench.run()
    assert [bench.now(job).state for job in (spoken, running, waiting)] == ["succeeded"] * 3
    assert [outcomes_told(client, job) for job in (spoken, running, waiting)] == [1, 1, 1]
    assert client.zrange(keys.jobs("acme", keys.OPEN), 0, -1) == []


def test_a_lane_that_is_empty_and_was_not_used_for_a_day_goes_and_comes_again(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    store = JobStore(client, retention_s=60)
    empty, waits = a_job("short"), a_job("one that is longer and waits")
    store.submit([empty])
    store.submit([waits])
    store.cancel(empty.id, "acme")
    swept(client, settings, later_s=DAY_S - 60)
    assert client.smembers(keys.LANES) == {empty.lane, waits.lane}
    swept(client, settings, later_s=DAY_S + 60)
    assert client.smembers(keys.LANES) == {waits.lane}
    assert client.exists(empty.lane) == 0
    bench = make()
    again = bench.submit(a_job("again"))[0]
    assert again.lane == empty.lane
    bench.run()
    assert (bench.now(again).state, bench.now(waits).state) == ("succeeded", "succeeded")


def test_a_lane_that_a_device_claimed_from_within_the_day_stays(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    job = bench.submit(a_job())[0]
    bench.run()
    swept(client, settings, later_s=3 * DAY_S)
    assert client.exists(job.lane) == 1


def test_a_lane_forgets_devices_that_are_gone_and_hold_nothing(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    jobs = make().submit(a_job("one"), a_job("two"), a_job("three"))
    lane = jobs[0].lane
    for name in ("gone/cpu", "gone/holds", "there/cpu"):
        Claims(client, settings, name)._run_claim(lane, 1, "new")
    for name in ("gone/cpu", "there/cpu"):
        entry = client.xpending_range(lane, keys.GROUP, "-", "+", 1, name)[0]["message_id"]
        client.xack(lane, keys.GROUP, entry)
    client.sadd(keys.DEVICES, "there/cpu")
    fence = a_round(client, settings).fence
    answer = fence.run(
        "sweeps/idle_lane", [lane, keys.LANES, keys.DEVICES], keys.GROUP, "returned", round(time.time() * 1000), 0
    )
    assert answer == [0, 1]
    assert {one["name"] for one in client.xinfo_consumers(lane, keys.GROUP)} == {"gone/holds", "there/cpu"}


# --- webhooks


def test_an_endpoint_that_no_courier_looks_at_becomes_due(client: redis.Redis, settings: Settings) -> None:
    known = Endpoint(id="wh_known", owner="acme", url="https://example.com/", events=("job.succeeded",))
    client.hset(keys.webhooks("acme"), "wh_known", known.to_json())
    client.hset(keys.webhooks("acme"), "wh_nothing_due", known.to_json())
    client.hset(keys.endpoint("wh_implicit"), mapping={"owner": "acme", "origin": "https://example.com"})
    client.zadd(keys.callbacks("acme"), {"wh_implicit": time.time(), "wh_expired": 1.0})
    client.zadd(keys.due("wh_known"), {"dlv_2": 1700000600.25, "dlv_1": 1700000000.5})
    client.zadd(keys.running("wh_implicit"), {"dlv_3": 1700000100.125})
    client.hset(keys.webhooks("acme"), "wh_waits", known.to_json())
    client.zadd(keys.due("wh_waits"), {"dlv_4": 5.0})
    client.zadd(keys.DUE_ENDPOINTS, {"wh_waits": 1900000000.0})
    for _ in range(2):
        swept(client, settings)
        assert client.zrange(keys.DUE_ENDPOINTS, 0, -1, withscores=True) == [
            ("wh_known", 1700000000.5),
            ("wh_implicit", 1700000100.125),
            ("wh_waits", 1900000000.0),
        ]
    assert client.zrange(keys.callbacks("acme"), 0, -1) == ["wh_implicit"]


# --- devices


def test_a_device_that_was_not_heard_of_for_a_day_is_forgotten(client: redis.Redis, settings: Settings) -> None:
    now = time.time()
    registry = DeviceRegistry(client, lease_s=60)
    for device_id, seen_at in (("old/cpu", now - DAY_S - 60), ("away/cpu", now - 3600), ("new/cpu", now)):
        registry.report(
            DeviceStatus(id=device_id, pid=1, state="idle", models=(TONE,), started_at=seen_at, seen_at=seen_at)
        )
        client.set(keys.wanted_residency(device_id), "unloaded")
        OverrideStore(client).put(device_id, residency="unloaded", by="ops")
        client.set(keys.last_order(device_id), "x")
        client.hset(keys.budgets(device_id), TONE, 100)
        client.rpush(keys.queue(f"device.{device_id}"), "an order")
    swept(client, settings, later_s=0)
    assert client.smembers(keys.DEVICES) == {"away/cpu", "new/cpu"}
    assert [str(key) for key in client.scan_iter("*old/cpu*")] == []
    assert not client.sismember("stentor:overridden", "old/cpu")
    assert len(list(client.scan_iter("*away/cpu*"))) == 6


# --- what has expired


def test_ids_of_expired_records_leave_their_indexes(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    kept, expired, canceled = bench.submit(a_job("kept"), a_job("expired"), a_job("canceled"))
    bench.store.cancel(canceled.id, "acme")
    bench.run()
    client.delete(keys.job(expired.id), keys.job(canceled.id))
    made = Bulks(client, settings)
    ended, there = made.of_texts("one"), made.of_texts("two")
    client.delete(keys.bulk(ended.id))
    client.hset(keys.open_chunks(ended.id), "0", 1)
    client.hset(keys.outcomes(ended.id, 0), "1", "{}")
    client.hset(keys.failures(ended.id), "0", 1)
    client.sadd(keys.redo(ended.id), 0)
    swept(client, settings, later_s=settings.retention_s - 60)
    assert client.zcard(keys.jobs("acme", "succeeded")) == 2
    swept(client, settings, later_s=settings.retention_s + 60)
    assert client.zrange(keys.jobs("acme", "succeeded"), 0, -1) == [kept.id]
    assert client.exists(keys.jobs("acme", "canceled")) == 0
    assert client.zrange(keys.bulks("acme"), 0, -1) == [there.id]
    assert [key for key in client.scan_iter(f"*{ended.id}*") if key != keys.ACTIVE_BULKS] == []


def test_an_open_job_whose_hash_is_gone_leaves_its_index_and_frees_its_key(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    lost = bench.submit(a_job(key_id="k1"))[0]
    held(bench, lost)
    client.delete(keys.job(lost.id))
    swept(client, settings)
    assert client.exists(keys.jobs("acme", keys.OPEN), keys.jobs("acme", "running"), keys.waiting("k1")) == 0
    assert client.xlen(lost.lane) == 0


def test_uses_of_a_recording_that_are_over_are_forgotten(client: redis.Redis, settings: Settings) -> None:
    recording = Recording(id="voice_1", owner="acme", name="ann", language="en", consent="I agree to this use.")
    client.hset(keys.recordings("acme"), "ann", recording.to_json())
    waits, over = a_job(), a_job(state="succeeded")
    for job in (waits, over):
        client.hset(keys.job(job.id), items=job_items(job))
    client.hset(keys.bulk("bulk_there"), mapping={"id": "bulk_there", "owner": "acme", "state": "running"})
    client.sadd(keys.recording_uses("voice_1"), waits.id, over.id, "job_gone", "bulk_there", "bulk_gone")
    swept(client, settings)
    assert client.smembers(keys.recording_uses("voice_1")) == {waits.id, "bulk_there"}


def test_owners_are_known_after_their_keys_were_revoked(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    job = bench.submit(a_job(owner="team:red"))[0]
    remove(client, job)
    assert client.exists(keys.API_KEYS) == 0
    swept(client, settings)
    assert client.smembers(keys.OWNERS) == {"team:red"}
    bench.run()
    assert bench.now(job).state == "succeeded"


# --- who may sweep


def stuck(client: redis.Redis, bench: Bench) -> list[Job]:
    """Something of everything that sweeps put right."""
    jobs = bench.submit(*(a_job(f"text {number}") for number in range(20)))
    taken = bench.claims.claim(Lane.from_key(jobs[0].lane), 10)
    client.xack(jobs[0].lane, keys.GROUP, *(one.entry for one in taken[:5]))
    bench.claims.give_back(taken[5:])
    for job in jobs[10:15]:
        remove(client, job)
    client.xadd(jobs[0].lane, {"job": "job_gone"})
    client.hset(keys.webhooks("acme"), "wh_1", "{}")
    client.zadd(keys.due("wh_1"), {"dlv_1": 5.0})
    DeviceRegistry(client, lease_s=60).report(
        DeviceStatus(id="old/cpu", pid=1, state="idle", started_at=1.0, seen_at=1.0)
    )
    return jobs


def test_a_sweeper_that_was_overtaken_changes_nothing(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    stuck(client, make())
    stale = a_round(client, settings)
    a_round(client, settings)
    before = contents(client)
    with pytest.raises(SweepOvertaken):
        sweep_all(stale, lambda: None)
    assert contents(client) == before
    # Each script looks by itself: one that is called at any later point does nothing either.
    for name in ("jobs", "lane", "idle_lane", "bulk_rows", "bulks", "index", "uses", "waiting", "endpoints", "device"):
        with pytest.raises(SweepOvertaken):
            stale.fence.run(f"sweeps/{name}", ["a", "b", "c"], "x", "y", "z")
    with pytest.raises(SweepOvertaken):
        stale.fence.check()
    assert contents(client) == before


def test_two_sweepers_at_a_time_put_right_once(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    bench = make()
    jobs = stuck(client, bench)
    rounds = [a_round(client, settings)]
    rounds.append(a_round(client, settings, fence=rounds[0].fence))
    threads = [threading.Thread(target=sweep_all, args=(one, lambda: None)) for one in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(entries(client, job)) for job in jobs] == [1] * 20
    bench.run()
    assert [outcomes_told(client, job) for job in jobs] == [1] * 20


class Killed(BaseException):
    """What a sweep that is killed does not come back from."""


@pytest.mark.parametrize("calls", range(6))
def test_a_sweep_that_is_killed_anywhere_is_done_by_the_next(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], calls: int
) -> None:
    class Mortal(Fence):
        left = calls

        def run(self, name: str, places: Any, *args: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return super().run(name, places, *args)

    bench = make()
    jobs = stuck(client, bench)
    first = a_round(client, settings)
    with pytest.raises(Killed):
        sweep_all(a_round(client, settings, fence=Mortal(client, first.fence.token)), lambda: None)
    for _ in range(2):
        swept(client, settings)
    assert [len(entries(client, job)) for job in jobs] == [1] * 20
    assert client.zscore(keys.DUE_ENDPOINTS, "wh_1") == 5.0
    assert client.smembers(keys.DEVICES) == set()
    bench.run()
    assert [(bench.now(job).state, outcomes_told(client, job)) for job in jobs] == [("succeeded", 1)] * 20


def test_one_io_worker_sweeps_at_a_time(
    client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.bulks.locking.PATIENCE_S", 0.1)
    token = a_round(client, settings).fence.token
    with client.lock(keys.SWEEP_LOCK, timeout=60):
        assert not sweep(settings, token)
    assert sweep(settings, token)
    assert client.exists(keys.SWEEP_LOCK) == 0
    assert not sweep(settings, token - 1)


def test_a_sweep_looks_at_so_much_and_the_next_goes_on(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    jobs = bench.submit(*(a_job(f"text {number}") for number in range(60)))
    for job in jobs:
        remove(client, job)
    monkeypatch.setattr("worker.sweeps.strays.AT_MOST", 20)
    monkeypatch.setattr("worker.sweeps.strays.AT_ONCE", 7)
    back = []
    for _ in range(4):
        swept(client, settings)
        back.append(client.xlen(jobs[0].lane))
    assert back == [21, 42, 60, 60]
    assert [len(entries(client, job)) for job in jobs] == [1] * 60


# --- a busy system


class Busy(Fence):
    """A fence behind which the world goes on: before each script of a sweep something else happens."""

    def __init__(self, client: redis.Redis, token: int, happen: Callable[[], None]) -> None:
        super().__init__(client, token)
        self._happen = happen

    def run(self, name: str, places: Any, *args: Any) -> Any:
        self._happen()
        return super().run(name, places, *args)


class World:
    """Two devices, clients and accidents, in the order of a seed."""

    def __init__(self, client: redis.Redis, make: Callable[..., Bench], seed: int) -> None:
        self.client = client
        self.draw = random.Random(seed)
        self.benches = [make(name="testhost/cpu"), make(name="testhost/cuda:0")]
        self.jobs: list[Job] = []
        self.canceled: set[str] = set()
        self.hands: list[tuple[Bench, Claim]] = []
        self.accidents = 0

    def happen(self) -> None:
        steps = (self.submit, self.claim, self.settle, self.give_back, self.cancel)
        accidents = (self.lose_entry, self.lose_hold, self.skip)
        for _ in range(self.draw.randrange(6)):
            self.draw.choice((*steps, self.submit, self.claim, self.settle, *accidents))()

    def submit(self) -> None:
        texts = [
            self.draw.choice(("short", "one that is quite a bit longer")) for _ in range(self.draw.randrange(1, 5))
        ]
        self.jobs += self.benches[0].submit(*(a_job(text, key_id="k1") for text in texts))

    def claim(self) -> None:
        bench = self.draw.choice(self.benches)
        for lane in sorted(str(lane) for lane in self.client.smembers(keys.LANES)):
            self.hands += [(bench, one) for one in bench.claims.claim(Lane.from_key(lane), 3)]

    def _from_a_hand(self) -> tuple[Bench, Claim] | None:
        return self.hands.pop(self.draw.randrange(len(self.hands))) if self.hands else None

    def settle(self) -> None:
        if found := self._from_a_hand():
            bench, claim = found
            bench.claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 0.5}))

    def give_back(self) -> None:
        if found := self._from_a_hand():
            found[0].claims.give_back([found[1]])

    def cancel(self) -> None:
        if self.jobs:
            with contextlib.suppress(JobSettled):
                self.canceled.add(self.benches[0].store.cancel(self.draw.choice(self.jobs).id, "acme").id)

    def _an_entry(self) -> tuple[str, str] | None:
        lane = self.draw.choice([*sorted(str(lane) for lane in self.client.smembers(keys.LANES)), "none"])
        found = self.client.xrange(lane)
        self.accidents += bool(found)
        return (lane, str(self.draw.choice(found)[0])) if found else None

    def lose_entry(self) -> None:
        if found := self._an_entry():
            self.client.xdel(*found)

    def lose_hold(self) -> None:
        if found := self._an_entry():
            self.client.xack(found[0], keys.GROUP, found[1])

    def skip(self) -> None:
        if found := self._an_entry():
            self.client.xgroup_setid(found[0], keys.GROUP, "$")


@pytest.mark.parametrize("seed", range(4))
def test_a_busy_system_loses_and_doubles_nothing_while_it_is_swept(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench], seed: int
) -> None:
    world = World(client, make, seed)
    for _ in range(20):
        world.happen()
        token = a_round(client, settings).fence.token
        sweep_all(a_round(client, settings, fence=Busy(client, token, world.happen)), lambda: None)
    assert len(world.jobs) > 50
    assert world.accidents > 10
    while world.hands:
        world.settle()
    for _ in range(2):
        swept(client, settings)
        assert all(len(entries(client, job)) <= 1 for job in world.jobs)
        for _ in range(len(world.jobs)):
            world.claim()
            while world.hands:
                world.settle()
    states = {job.id: world.benches[0].now(job).state for job in world.jobs}
    assert {job_id for job_id, state in states.items() if state == "canceled"} == world.canceled
    assert set(states.values()) <= {"succeeded", "canceled"}
    assert [outcomes_told(client, job) for job in world.jobs] == [1] * len(world.jobs)
    assert world.benches[0].nothing_is_left()
    indexes = [keys.jobs("acme", index) for index in (keys.OPEN, "running")]
    assert client.exists(*indexes, keys.waiting("k1")) == 0
    assert client.zcard(keys.jobs("acme", "succeeded")) == len(world.jobs) - len(world.canceled)


# --- asking for sweeps


def test_the_leader_asks_once_a_minute_and_not_while_a_sweep_waits_or_runs(
    client: redis.Redis, settings: Settings
) -> None:
    def asked() -> list[str]:
        messages = [json.loads(line) for line in client.lrange(keys.queue("io"), 0, -1)]
        return [message["headers"]["kwargsrepr"] for message in reversed(messages)]

    sweeps = Sweeps(client, Doorbell(create_celery(settings), client))
    assert sweeps.act(7, 1000.0)
    assert not sweeps.act(7, 1059.0)
    assert not sweeps.act(7, 1061.0)  # it waits for an io worker
    assert asked() == ["{'token': '7'}"]
    client.delete(keys.SWEEP_ASKED)
    with client.lock(keys.SWEEP_LOCK, timeout=60):
        assert not sweeps.act(7, 1070.0)
    assert sweeps.act(7, 1071.0)
    # A new leader does not wait for what one before it asked for.
    assert Sweeps(client, Doorbell(create_celery(settings), client)).act(9, 1072.0)
    assert asked() == ["{'token': '7'}", "{'token': '7'}", "{'token': '9'}"]
    assert 0 < client.ttl(keys.SWEEP_ASKED) <= 1200
