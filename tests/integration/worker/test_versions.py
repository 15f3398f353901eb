"""What another release has put into Redis: read if it is older, left to that release if it is newer."""

from __future__ import annotations

import gzip
import inspect
from collections.abc import Callable

import pytest
import redis

from stentor.bulks.bulk import Bulk
from stentor.devices.registry import DeviceRegistry
from stentor.errors import RecordNewer
from stentor.jobs.job import VERSION, Job
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.conftest import register_voice
from tests.support.speech.factories import a_job
from tests.support.stacks.stack import eventually
from tests.support.work.device import Bench
from tests.support.work.feeding import Bulks
from worker.app import app
from worker.bulks.feeder import Feeder
from worker.bulks.locking import alone

LANE = "stentor:lane:tone:standard:2"
#: As 0.1.0 wrote jobs when they had no version yet. Whoever changes a job's fields leaves this as it is.
OLD_JOB = {
    "id": "job_01jdsv0c5m3qk8z2x7w9y4t6ab",
    "owner": "acme",
    "state": "queued",
    "text": "Your parcel arrives on Tuesday.",
    "voice": "tone",
    "model": "tone",
    "lane": LANE,
    "speed": "1.0",
    "seed": "0",
    "format": "wav",
    "priority": "standard",
    "metadata": '{"order":"17"}',
    "created_at": "1764361200.25",
    "attempts": "0",
    "cached": "false",
}
OLD_BULK = {
    "id": "bulk_01jdsv0c5m3qk8z2x7w9y4t6ab",
    "owner": "acme",
    "state": "waiting",
    "name": "texts.csv",
    "source": "bulk/bulk_01jdsv0c5m3qk8z2x7w9y4t6ab/source",
    "defaults": '{"voice":"tone"}',
    "priority": "bulk",
    "on_error": "reject",
    "dry_run": "false",
    "archive": "false",
    "webhook_progress": "false",
    "metadata": "{}",
    "created_at": "1764361200.25",
    "rows": "2",
    "chars": "20",
    "chunks": "1",
    "next_chunk": "0",
    "settled": "0",
    "in_lanes": "0",
}
OLD_ROWS = (
    b'{"row":1,"text":"first row.","voice":"tone","speed":1.0,"seed":0,"format":"wav","cache":true}\n'
    b'{"row":2,"text":"second row","voice":"tone","speed":1.0,"seed":0,"format":"wav","cache":true}\n'
)
OLD_REPORT = '{"id":"testhost/cpu","pid":17,"state":"idle","models":["tone"],"started_at":1.5,"seen_at":2.5}'


def put_down(client: redis.Redis, fields: dict[str, str]) -> None:
    client.hset(keys.job(fields["id"]), items=[part for pair in fields.items() for part in pair])
    client.sadd(keys.LANES, LANE)
    client.xgroup_create(LANE, keys.GROUP, "0", mkstream=True)
    client.hset(keys.job(fields["id"]), "entry", str(client.xadd(LANE, {"job": fields["id"]})))
    client.delete(keys.BACKLOG)


def put_down_bulk(client: redis.Redis, settings: Settings, fields: dict[str, str]) -> None:
    register_voice(client)
    Storage(settings).put(
        f"bulk/{fields['id']}/rows/000000.jsonl.gz", gzip.compress(OLD_ROWS), content_type="application/gzip"
    )
    client.hset(keys.bulk(fields["id"]), items=[part for pair in fields.items() for part in pair])
    client.sadd(keys.ACTIVE_BULKS, fields["id"])


def test_a_job_of_the_earlier_format_is_spoken(client: redis.Redis, make: Callable[..., Bench]) -> None:
    put_down(client, OLD_JOB)
    bench = make()
    bench.run()
    job = bench.store.get(OLD_JOB["id"], "acme")
    assert (job.state, job.version, job.text, job.metadata) == (
        "succeeded",
        1,
        "Your parcel arrives on Tuesday.",
        {"order": "17"},
    )
    assert bench.nothing_is_left()


def test_a_job_with_fields_of_a_later_release_is_spoken_and_keeps_them(
    client: redis.Redis, make: Callable[..., Bench]
) -> None:
    put_down(client, {**OLD_JOB, "version": str(VERSION), "mood": "sunny"})
    bench = make()
    bench.run()
    assert bench.store.get(OLD_JOB["id"], "acme").state == "succeeded"
    assert client.hget(keys.job(OLD_JOB["id"]), "mood") == "sunny"


@pytest.fixture
def left(client: redis.Redis, make: Callable[..., Bench]) -> tuple[Bench, Job, Job]:
    """A device that met a job of a newer release and one of its own, with a lease of a second."""
    bench = make(lease_s=1)
    newer, own = bench.submit(a_job("of a later release", version=VERSION + 1), a_job("of this release..."))
    bench.run()
    return bench, newer, own


def test_a_job_of_a_newer_release_is_left_in_its_lane_and_others_go_on(
    left: tuple[Bench, Job, Job], client: redis.Redis
) -> None:
    bench, newer, own = left
    assert bench.engine.batches == [["of this release..."]]
    assert bench.now(own).state == "succeeded"
    kept = bench.now(newer)
    assert (kept.state, kept.attempts, kept.device, kept.started_at) == ("queued", 0, None, None)
    assert client.xlen(newer.lane) == 1
    assert [entry["consumer"] for entry in client.xpending_range(newer.lane, keys.GROUP, "-", "+", 9)] == ["newer"]
    # Nobody asks for it over and over: it counts as waiting when the lease is over.
    assert Backlog(client, lease_s=60).lanes() == []


def test_a_device_of_the_newer_release_takes_it_when_the_lease_is_over(
    left: tuple[Bench, Job, Job], make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, newer, _ = left
    monkeypatch.setattr("worker.claiming.claims.VERSION", VERSION + 1)
    upgraded = make(name="otherhost/cpu", lease_s=1)
    eventually(lambda: upgraded.run() or upgraded.engine.batches)
    assert upgraded.engine.batches == [["of a later release"]]
    done = upgraded.now(newer)
    assert (done.state, done.attempts) == ("succeeded", 1)
    assert upgraded.nothing_is_left()


def test_what_a_newer_process_of_the_same_device_held_is_left_after_a_roll_back(
    client: redis.Redis, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = make()
    (job,) = newer.submit(a_job("of a later release", version=VERSION + 1))
    monkeypatch.setattr("worker.claiming.claims.VERSION", VERSION + 1)
    newer.drain.claim()
    assert newer.now(job).state == "running"
    monkeypatch.undo()
    back = make()
    back.run()
    assert back.engine.batches == []
    assert (back.now(job).state, back.now(job).attempts) == ("queued", 1)
    assert back.store.list("acme", states=["running"], limit=9).jobs == []


def test_a_job_of_a_newer_release_can_be_seen_and_canceled(left: tuple[Bench, Job, Job], client: redis.Redis) -> None:
    bench, newer, _ = left
    assert bench.store.get(newer.id, "acme").text == "of a later release"
    assert bench.store.cancel(newer.id, "acme").state == "canceled"
    assert client.xlen(newer.lane) == 0


def test_a_bulk_of_the_earlier_format_is_spoken(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    put_down_bulk(client, settings, OLD_BULK)
    feeder, bench, bulks = Feeder(settings), make(), Bulks(client, settings)
    bulk = Bulk(id=OLD_BULK["id"], owner="acme")
    for _ in range(3):
        feeder.tick(1764361300.0)
        bench.run()
    assert (bulks.now(bulk).state, bulks.now(bulk).succeeded) == ("succeeded", 2)
    assert [line["state"] for line in bulks.manifest(bulk)] == ["succeeded", "succeeded"]


def test_a_bulk_of_a_newer_release_is_left_to_that(
    client: redis.Redis, settings: Settings, make: Callable[..., Bench]
) -> None:
    put_down_bulk(client, settings, {**OLD_BULK, "version": "2"})
    assert not Feeder(settings).tick(1764361300.0)
    assert client.scard(keys.LANES) == 0
    assert client.smembers(keys.ACTIVE_BULKS) == {OLD_BULK["id"]}
    with (
        pytest.raises(RecordNewer, match=r"is of version 2; this release reads up to 1"),
        alone(OLD_BULK["id"], "check", settings),
    ):
        raise AssertionError("it was worked on")


def test_a_report_of_the_earlier_format_is_read(client: redis.Redis) -> None:
    client.sadd(keys.DEVICES, "testhost/cpu")
    client.hset(keys.device("testhost/cpu"), mapping={"seen_at": "2.5", "report": OLD_REPORT})
    (device,) = DeviceRegistry(client, lease_s=60).list()
    assert (device.id, device.models, device.batches) == ("testhost/cpu", ("tone",), 0)


def test_messages_of_the_earlier_release_are_understood() -> None:
    # A message may wait for hours, and its sender may be of an older or newer release: a task that wants something
    # else gets a new name, and the old one stays for a release.
    app.loader.import_default_modules()
    wanted = {
        name: list(inspect.signature(task.run).parameters)
        for name, task in app.tasks.items()
        if name.startswith("stentor.")
    }
    assert wanted == {
        "stentor.synthesize": [],
        "stentor.load": ["model"],
        "stentor.unload": ["why", "pid", "spoke_at"],
        "stentor.remove_canceled": ["job_id", "key"],
        "stentor.check_bulk": ["bulk_id"],
        "stentor.pack_archive": ["bulk_id"],
        "stentor.join_groups": ["bulk_id"],
        "stentor.check_recording": ["owner", "name", "recording_id"],
        "stentor.remove_recordings": [],
        "stentor.sweep": ["token"],
    }
