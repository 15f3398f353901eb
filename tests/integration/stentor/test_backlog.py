"""What is noted of the lanes is what is in them, whatever happened to their jobs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis
from structlog.testing import capture_logs

from scheduler.metrics.gathering import Gathered, Gatherer
from stentor.devices.overrides import OverrideStore
from stentor.devices.registry import DeviceRegistry, DeviceStatus
from stentor.jobs.job import JobState, Outcome
from stentor.jobs.lanes import Lane, LaneState
from stentor.jobs.store import Backlog, JobStore
from stentor.redis import keys
from tests.support.speech.factories import TONE, a_job
from tests.support.work.device import Bench

#: Texts of three length classes.
TEXTS = ("Short.", "A text of a little more.", "A text that is longer than the others, and so in a lane of its own.")


def looked_up(client: redis.Redis) -> list[tuple[str, int, float]]:
    """What waits in each lane by its stream and group, without what was noted of them."""
    found = []
    for lane in sorted(str(lane) for lane in client.smembers(keys.LANES)):
        (group,) = client.xinfo_groups(lane)
        fresh = client.xrange(lane, f"({group['last-delivered-id']}", "+")
        returned = client.xpending_range(lane, keys.GROUP, "-", "+", 1000, idle=60_000)
        ids = [str(entry["message_id"]) for entry in returned] + [str(entry) for entry, _ in fresh or ()]
        if ids:
            found.append((lane, len(ids), int(ids[0].partition("-")[0]) / 1000))
    return found


def told(states: list[LaneState]) -> list[tuple[str, int, float]]:
    return sorted((state.lane.key, state.waiting, state.oldest_at) for state in states)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_noted_of_the_lanes_is_what_is_in_them(
    make: Callable[..., Bench], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stentor.jobs.store.MOST_STALE", 5)
    draw = random.Random(seed)
    bench = make()
    bench.submit(*map(a_job, TEXTS))
    held = []
    for _ in range(80):
        step = draw.choice(("submit", "submit", "claim", "claim", "settle", "settle", "give_back", "cancel"))
        if step == "submit":
            bench.submit(*[a_job(draw.choice(TEXTS)) for _ in range(draw.randint(1, 4))])
        elif step == "claim":
            lane = Lane.of(model=TONE, priority="standard", text_chars=len(draw.choice(TEXTS)))
            held += bench.claims.claim(lane, draw.randint(1, 4))
        elif step == "cancel":
            jobs = bench.store.list("acme", states=("queued", "running"), limit=1).jobs
            for job in jobs:
                bench.store.cancel(job.id, "acme")
        elif held:
            claim = held.pop(draw.randrange(len(held)))
            if step == "settle":
                bench.claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 1.0}))
            else:
                bench.claims.give_back([claim])
        assert told(bench.backlog.lanes()) == looked_up(bench.client), step
        _, remembered = bench.backlog._last
        assert len(remembered) <= 2 * len(TEXTS) + 5 + len(TEXTS), "what is over is forgotten"
    for claim in held:
        bench.claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 1.0}))
    bench.run()
    assert bench.backlog.lanes() == []
    assert set(bench.client.hkeys(keys.BACKLOG)) <= {""}, "an empty lane is looked at no more"


def test_what_waited_before_anything_was_noted_is_found(client: redis.Redis) -> None:
    JobStore(client, retention_s=60).submit([a_job("Short."), a_job("Short too.")])
    client.delete(keys.BACKLOG)
    found = Backlog(client, lease_s=60).lanes()
    assert [(state.lane.key, state.waiting) for state in found] == [("stentor:lane:tone:standard:0", 2)]


def test_the_jobs_of_a_device_that_went_silent_wait_again(make: Callable[..., Bench]) -> None:
    bench = make(lease_s=0.05)
    bench.submit(a_job("Short."), a_job("Short too."))
    lane = Lane.of(model=TONE, priority="standard", text_chars=6)
    assert len(bench.claims.claim(lane, 2)) == 2
    bench.client.xclaim(lane.key, keys.GROUP, bench.name, 0, _ids(bench, lane), idle=50, justid=True)
    assert [state.waiting for state in bench.backlog.lanes()] == [2]


def _ids(bench: Bench, lane: Lane) -> list[int | bytes | str | memoryview[int]]:
    return [str(entry) for entry, _ in bench.client.xrange(lane.key) or ()]


def test_a_model_may_be_called_anything_that_a_file_may(client: redis.Redis) -> None:
    jobs = [a_job("Short.", model=model) for model in ("my voice", "a\nb", "a:b", "%z+")]
    JobStore(client, retention_s=60).submit(jobs)
    assert {state.lane.model for state in Backlog(client, lease_s=60).lanes()} == {
        "my voice", "a\nb", "a:b", "%z+"
    }  # fmt: skip


def test_a_lane_of_a_held_priority_says_so_for_as_long_as_it_is_held(client: redis.Redis) -> None:
    JobStore(client, retention_s=60).submit([a_job(priority="bulk"), a_job(priority="interactive")])
    backlog = Backlog(client, lease_s=60)
    for held in (frozenset(), frozenset({"bulk"}), frozenset[str]()):
        client.delete(keys.HELD)
        if held:
            client.sadd(keys.HELD, *held)
        assert {state.lane.priority: state.held for state in backlog.lanes()} == {
            "bulk": "bulk" in held, "interactive": False
        }  # fmt: skip


def test_a_device_is_read_as_it_reported(client: redis.Redis) -> None:
    registry = DeviceRegistry(client, lease_s=60)
    told_of = DeviceStatus(
        id="testhost/cuda:0", pid=7, state="busy", models=("joe", "amy"), model="joe", started_at=1.5, seen_at=100.25,
        sizes=(1, 0, 2, 0, 0, 0, 0, 0, 0), sums={"joe": [1.0, 2.5]}, error="of \"quotes\" and ümläuts",
    )  # fmt: skip
    registry.report(told_of)
    registry.report(DeviceStatus(id="a/cpu", pid=8, state="idle", started_at=1.0, seen_at=20.0))
    client.sadd(keys.DEVICES, "never/reported")
    gone, there = registry.list(now_s=101.0)
    assert (gone.id, gone.state) == ("a/cpu", "gone")
    assert there == told_of


def test_a_report_that_cannot_be_read_hides_no_other(client: redis.Redis) -> None:
    registry = DeviceRegistry(client, lease_s=60)
    registry.report(DeviceStatus(id="a/cpu", pid=8, state="idle", started_at=1.0, seen_at=20.0))
    registry.report(DeviceStatus(id="b/cpu", pid=9, state="idle", started_at=float("nan"), seen_at=20.0))
    with capture_logs() as events:
        assert [[status.id for status in registry.list()] for _ in range(2)] == [["a/cpu"], ["a/cpu"]]
    assert [event["event"] for event in events] == ["report_unreadable"]


def test_an_override_that_has_expired_is_no_override(client: redis.Redis) -> None:
    overrides = OverrideStore(client)
    overrides.put("a/cpu", residency="unloaded", by="ops", for_s=600)
    overrides.put("b/cpu", clocks="low", by="ops")
    client.delete(keys.override("a/cpu"))  # as its time does
    assert {device: found.clocks for device, found in overrides.of(["a/cpu", "b/cpu", "c/cpu"]).items()} == {
        "b/cpu": "low"
    }
    overrides.put("b/cpu", clocks="auto", by="ops")
    assert overrides.of(["b/cpu"]) == {}


def test_webhooks_that_wait_are_counted_with_the_first_that_is_due(client: redis.Redis) -> None:
    client.zadd(keys.DUE_ENDPOINTS, {"ep_late": 900.5, "ep_soon": 1200.0})
    client.zadd(keys.due("ep_late"), {"dlv_1": 900.5, "dlv_2": 950.0})
    client.zadd(keys.due("ep_soon"), {"dlv_3": 1200.0})
    client.xadd(keys.OUTBOX, {"type": "job.succeeded", "id": "job_1", "owner": "acme"})
    client.rpush(keys.queue("io"), "a", "b")
    client.sadd(keys.ACTIVE_BULKS, "bulk_1")
    client.hset(keys.OUTCOMES, mapping={"succeeded": 7, "failed:engine_failed": 2})
    client.hset(keys.OUTCOMES, mapping={"took:standard:1": 3, "took_ms:standard": 4500, "webhook:succeeded": 6})
    found = Gatherer(client).gather(1000.0)
    assert found == Gathered(
        outcomes={"succeeded": 7, "failed:engine_failed": 2},
        outbox=1,
        deliveries=3,
        endpoints_due=1,
        due_since=900.5,
        queues={"io": 2, "synthesis": 0},
        bulks_active=1,
        took={"interactive": (0,) * 20, "standard": (0, 0, 0, 3) + (0,) * 16, "bulk": (0,) * 20},
        took_s={"interactive": 0.0, "standard": 4.5, "bulk": 0.0},
        attempts={"succeeded": 6, "failed": 0, "pending": 0, "skipped": 0},
    )
    client.flushall()
    assert Gatherer(client).gather(1000.0).due_since is None
