"""Sweeps of the bucket, on a real S3 server: what nothing leads to goes, everything else stays."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis
from ulid import ULID

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk, BulkState
from stentor.bulks.store import BulkStore
from stentor.jobs.job import JobState, Outcome
from stentor.jobs.lanes import Lane
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage, audio_key
from stentor.voices.recording import Recording, upload_key
from tests.support.servers.neighbours import RunningNeighbours
from tests.support.speech.factories import a_job
from tests.support.work.device import Bench
from tests.support.work.sweeping import a_round
from worker.sweeps.fence import SweepOvertaken
from worker.sweeps.objects import sweep_objects

DAY_S = 86_400.0


@pytest.fixture
def apart(settings: Settings, client: redis.Redis) -> Settings:
    """Settings with an empty bucket, audio that may be needed for three days, and sweeps since long ago."""
    made = settings.model_copy(update={"s3_bucket": "sweeps", "retention_s": round(2 * DAY_S), "cache_s": round(DAY_S)})
    stored = Storage(made)
    stored.ensure_bucket()
    for name in names(stored):
        stored.delete(name)
    client.hset(keys.SWEEP_STATE, "since", "0")
    return made


@pytest.fixture
def bucket(apart: Settings) -> Storage:
    return Storage(apart)


def put(storage: Storage, *names: str) -> None:
    for name in names:
        storage.put(name, b"x", content_type="audio/wav")


def names(storage: Storage) -> list[str]:
    answer = storage.client.list_objects_v2(Bucket=storage.bucket)
    return [found["Key"] for found in answer.get("Contents", [])]


def objects_swept(client: redis.Redis, settings: Settings, storage: Storage, *, later_s: float) -> None:
    sweep_objects(a_round(client, settings, later_s=later_s, storage=storage), ["acme"], lambda: None)


def audio_of(job_id: str, *, made_days_ago: float = 0.0) -> str:
    return audio_key(job_id, time.time() - made_days_ago * DAY_S, "wav")


def test_audio_goes_when_no_job_can_lead_to_it(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    put(bucket, audio_of("job_1"), audio_of("job_2", made_days_ago=40), "audio/notes.txt", "elsewhere/job_3.wav")
    before = names(bucket)
    # Retention, cache and one day: three days and one.
    objects_swept(client, apart, bucket, later_s=4 * DAY_S - 60)
    assert names(bucket) == before
    objects_swept(client, apart, bucket, later_s=4 * DAY_S + 3600)
    assert names(bucket) == ["elsewhere/job_3.wav"]


def test_audio_of_a_bulk_stays_as_long_as_the_bulk(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    store = BulkStore(client, retention_s=apart.retention_s)
    there = store.create(Bulk(id=bulks.new_id(), owner="acme", state=BulkState.PAUSED))
    gone = bulks.new_id()
    kept, lost = audio_of(bulks.job_id(there.id, 7)), audio_of(bulks.job_id(gone, 7))
    put(bucket, kept, lost)
    objects_swept(client, apart, bucket, later_s=30 * DAY_S)
    assert names(bucket) == [kept]
    client.delete(keys.bulk(there.id))
    objects_swept(client, apart, bucket, later_s=31 * DAY_S)
    assert names(bucket) == []


def test_audio_that_rows_of_a_long_bulk_were_given_stays_with_it(
    client: redis.Redis, apart: Settings, bucket: Storage
) -> None:
    store = BulkStore(client, retention_s=apart.retention_s)
    there = store.create(Bulk(id=bulks.new_id(), owner="acme", state=BulkState.PAUSED, cached=1))
    put(bucket, audio_of("job_1"))
    objects_swept(client, apart, bucket, later_s=30 * DAY_S)
    assert names(bucket) == [audio_of("job_1")]
    client.delete(keys.bulk(there.id))
    objects_swept(client, apart, bucket, later_s=31 * DAY_S)
    assert names(bucket) == []


def test_a_job_that_got_its_audio_at_the_last_moment_keeps_it(
    client: redis.Redis, apart: Settings, make: Callable[..., Bench]
) -> None:
    bench = make(retention_s=apart.retention_s, cache_s=apart.cache_s, s3_bucket=apart.s3_bucket)
    first, equal = a_job(fingerprint="f" * 64), a_job(fingerprint="f" * 64)
    bench.submit(first)
    bench.run()
    assert client.ttl(keys.cache("f" * 64)) == DAY_S
    bench.submit(equal)
    cached = bench.now(equal)
    assert cached.cached
    assert cached.audio_key == bench.now(first).audio_key
    # Submitted a day later it can be asked for until three days after the first.
    storage = Storage(apart)
    objects_swept(client, apart, storage, later_s=3 * DAY_S)
    assert names(storage) == [cached.audio_key]


def test_audio_that_a_job_was_given_is_remembered_no_longer_for_that(
    client: redis.Redis, apart: Settings, make: Callable[..., Bench]
) -> None:
    bench = make(cache_s=apart.cache_s)
    first, equal = a_job(fingerprint="f" * 64), a_job(fingerprint="f" * 64)
    bench.submit(first, equal)
    claimed = bench.claims.claim(Lane.from_key(first.lane), 2)
    spoken = {"audio_key": audio_of(first.id), "audio_s": 0.5}
    bench.claims.settle(claimed[0], Outcome(state=JobState.SUCCEEDED, fields=spoken))
    client.delete(keys.cache("f" * 64))
    bench.claims.settle(claimed[1], Outcome(state=JobState.SUCCEEDED, fields={**spoken, "cached": True}))
    assert bench.now(equal).cached
    assert client.exists(keys.cache("f" * 64)) == 0


def an_id(*, days_ago: float) -> str:
    return f"bulk_{ULID.from_timestamp(time.time() - days_ago * DAY_S)}".lower()


def test_files_of_a_bulk_that_is_gone_go_unless_they_are_new(
    client: redis.Redis, apart: Settings, bucket: Storage
) -> None:
    store = BulkStore(client, retention_s=apart.retention_s)
    there, gone, young = an_id(days_ago=20), an_id(days_ago=20), an_id(days_ago=0)
    store.create(Bulk(id=there, owner="acme", state=BulkState.SUCCEEDED))
    files = [
        f"{bulks.prefix(one)}{name}" for one in (there, gone, young) for name in ("source", "rows/000000.jsonl.gz")
    ]
    put(bucket, *files, "bulk/not-ours/file")
    # The bulk that is gone is old, but its file has just come: its request was sent again.
    objects_swept(client, apart, bucket, later_s=DAY_S / 2)
    assert sorted(names(bucket)) == sorted([*files, "bulk/not-ours/file"])
    objects_swept(client, apart, bucket, later_s=DAY_S + 3600)
    expected = [f"{bulks.prefix(there)}{name}" for name in ("rows/000000.jsonl.gz", "source")]
    assert sorted(names(bucket)) == sorted([*expected, "bulk/not-ours/file"])


def test_uploads_that_nobody_completes_are_given_up(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    for name in ("bulk/bulk_1/archive-001.zip", "elsewhere/file"):
        bucket.client.create_multipart_upload(Bucket=bucket.bucket, Key=name)

    def begun() -> list[str]:
        answer = bucket.client.list_multipart_uploads(Bucket=bucket.bucket)
        return sorted(upload["Key"] for upload in answer.get("Uploads", []))

    objects_swept(client, apart, bucket, later_s=DAY_S / 2)
    assert begun() == ["bulk/bulk_1/archive-001.zip", "elsewhere/file"]
    objects_swept(client, apart, bucket, later_s=DAY_S + 3600)
    assert begun() == ["elsewhere/file"]


def test_deleted_recordings_go(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    recording = Recording(id="voice_1", owner="acme", name="ann", language="en", consent="I agree to this use.")
    client.hset(keys.DELETED_RECORDINGS, recording.id, recording.to_json())
    put(bucket, upload_key(recording.id))
    objects_swept(client, apart, bucket, later_s=0)
    assert names(bucket) == []


def test_a_sweep_of_many_goes_on_where_the_one_before_stopped(
    client: redis.Redis, apart: Settings, bucket: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.sweeps.bucket.PAGE", 10)
    monkeypatch.setattr("worker.sweeps.objects.PAGE", 10)
    monkeypatch.setattr("worker.sweeps.objects.PAGES_AT_MOST", 2)
    put(bucket, *(audio_of(f"job_{number:02}", made_days_ago=number % 3) for number in range(45)))
    left = []
    for turn in range(4):
        objects_swept(client, apart, bucket, later_s=5 * DAY_S + turn)
        left.append(len(names(bucket)))
    assert left == [25, 5, 0, 0]


def test_one_pass_an_hour_lists_the_bucket(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    objects_swept(client, apart, bucket, later_s=5 * DAY_S)
    put(bucket, audio_of("job_1"))
    objects_swept(client, apart, bucket, later_s=5 * DAY_S + 3500)
    assert names(bucket) == [audio_of("job_1")]
    objects_swept(client, apart, bucket, later_s=5 * DAY_S + 3700)
    assert names(bucket) == []


def test_s3_is_left_alone_when_that_is_set_and_while_redis_is_new(
    client: redis.Redis, apart: Settings, bucket: Storage
) -> None:
    put(bucket, audio_of("job_1"), f"{bulks.prefix(an_id(days_ago=9))}source")
    before = names(bucket)
    objects_swept(client, apart.model_copy(update={"sweep_objects": "off"}), bucket, later_s=9 * DAY_S)
    # A Redis that has lost its data would else cost the files of every bulk.
    client.flushall()
    objects_swept(client, apart, bucket, later_s=9 * DAY_S)
    objects_swept(client, apart, bucket, later_s=10 * DAY_S - 60)
    assert names(bucket) == before
    objects_swept(client, apart, bucket, later_s=10 * DAY_S + 60)
    assert names(bucket) == []


def test_a_sweeper_that_was_overtaken_removes_nothing(client: redis.Redis, apart: Settings, bucket: Storage) -> None:
    put(bucket, audio_of("job_1"), f"{bulks.prefix(an_id(days_ago=9))}source")
    before = names(bucket)
    stale = a_round(client, apart, later_s=9 * DAY_S, storage=bucket)
    a_round(client, apart)
    with pytest.raises(SweepOvertaken):
        sweep_objects(stale, ["acme"], lambda: None)
    assert names(bucket) == before


def test_a_storage_that_is_away_ends_this_sweep_only(
    client: redis.Redis, near: RunningNeighbours, apart: Settings
) -> None:
    nowhere = Storage(apart.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"}))
    objects_swept(client, apart, nowhere, later_s=9 * DAY_S)
    missing = Storage(apart.model_copy(update={"s3_bucket": "there-is-no-such-bucket"}))
    objects_swept(client, apart, missing, later_s=9 * DAY_S)
    put(Storage(apart), audio_of("job_1"))
    objects_swept(client, apart, Storage(apart), later_s=9 * DAY_S)
    assert names(Storage(apart)) == []
