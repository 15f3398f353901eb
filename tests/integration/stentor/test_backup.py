"""A backup of Redis and S3 that is made under load, brought back on fresh servers, as docs/howto/backup.md says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.conftest import Measured, register_voice
from tests.support.servers.neighbours import RunningNeighbours, neighbours
from tests.support.speech.factories import TONE, ToneEngine, a_job
from tests.support.stacks.stack import eventually
from tests.support.work.device import Bench, speaking
from tests.support.work.feeding import Bulks
from worker.bulks.feeder import Feeder

#: A base in RDB's format and nothing after it. Without this file Valkey would not read the snapshot.
MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\n"


def save_redis(client: redis.Redis, data_dir: Path) -> bytes:
    """A snapshot of one moment, made beside the work."""
    client.bgsave()
    eventually(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
    return (data_dir / "valkey" / "dump.rdb").read_bytes()


def copied(storage: Storage) -> dict[str, bytes]:
    """All objects of the bucket."""
    pages = storage.client.get_paginator("list_objects_v2").paginate(Bucket=storage.bucket)
    return {item["Key"]: storage.get(item["Key"]) for page in pages for item in page.get("Contents", [])}


def put_back(near: RunningNeighbours, data_dir: Path, snapshot: bytes, objects: dict[str, bytes]) -> None:
    """What was saved, in fresh servers that nobody uses yet."""
    near.stop("valkey")
    append_only = data_dir / "valkey" / "appendonlydir"
    for path in append_only.iterdir():
        path.unlink()
    (append_only / "appendonly.aof.1.base.rdb").write_bytes(snapshot)
    (append_only / "appendonly.aof.manifest").write_text(MANIFEST, encoding="ascii")
    near.start("valkey")
    storage = Storage(settings_of(near))
    storage.ensure_bucket()
    for key, body in objects.items():
        storage.put(key, body, content_type="application/octet-stream")


def settings_of(near: RunningNeighbours) -> Settings:
    return Settings.from_environ(
        {**near.environ, "STENTOR_HOST": "testhost", "STENTOR_DEFAULT_VOICE": TONE, "STENTOR_LEASE_S": "2"}
    )


@contextlib.contextmanager
def device(near: RunningNeighbours) -> Iterator[Bench]:
    """A device on these servers, speaking; rows of bulks are fed to it."""
    settings = settings_of(near).model_copy(update={"merge_window_ms": 0})
    with contextlib.closing(connect(settings)) as client:
        bench = Bench(client, settings, ToneEngine())
        feeder, stop = Feeder(settings), threading.Event()

        def feed() -> None:
            while not stop.wait(0.05):
                feeder.tick(time.time())

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            with speaking(bench):
                yield bench
        finally:
            stop.set()
            thread.join()
            bench.drain.close()
            bench.finisher.abandon()


@contextlib.contextmanager
def load_on(bench: Bench) -> Iterator[list[str]]:
    """Within, texts come all the time, more than are spoken; the ids of those that were accepted so far."""
    accepted: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        accepted.extend(job.id for job in bench.submit(*[a_job(f"Notice {at}.") for at in range(30)]))
        while not stop.wait(0.3):
            accepted.extend(job.id for job in bench.submit(a_job(f"Notice {len(accepted)}.")))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield accepted
    finally:
        stop.set()
        thread.join()


def states(bench: Bench, ids: list[str]) -> dict[str, str]:
    return {job_id: bench.store.get(job_id, "acme").state for job_id in ids}


def test_every_job_that_was_accepted_before_a_backup_is_spoken_or_will_be(tmp_path: Path, measured: Measured) -> None:
    lost, fresh = tmp_path / "lost", tmp_path / "fresh"
    with neighbours(lost) as near:
        Storage(settings_of(near)).ensure_bucket()
        with device(near) as bench, load_on(bench) as accepted:
            register_voice(bench.client)
            bulk = Bulks(bench.client, bench.settings).of_texts(*[f"Row {row}." for row in range(12)])
            eventually(lambda: "succeeded" in states(bench, accepted).values())
            before = list(accepted)
            snapshot = save_redis(bench.client, lost)
            eventually(lambda: len(accepted) > len(before))
            objects = copied(Storage(bench.settings))
    with neighbours(fresh) as near:
        put_back(near, fresh, snapshot, objects)
        with contextlib.closing(connect(settings_of(near))) as client:
            found = Bench(client, settings_of(near), ToneEngine())
            at_first = states(found, before)
            spoken = {job_id: found.store.get(job_id, "acme") for job_id, one in at_first.items() if one == "succeeded"}
            found.drain.close()
        assert spoken, "nothing was spoken when the snapshot was made"
        assert set(at_first.values()) - {"succeeded"}, "nothing waited when the snapshot was made"
        with device(near) as bench:
            eventually(lambda: set(states(bench, before).values()) == {"succeeded"}, 120)
            jobs = [bench.store.get(job_id, "acme") for job_id in before]
            assert all(Storage(bench.settings).size_of(job.audio_key or "") == job.audio_bytes for job in jobs)
            # What was spoken before was not spoken again.
            assert {job.id: job for job in jobs if job.id in spoken} == spoken
            bulks = Bulks(bench.client, bench.settings)
            eventually(lambda: bulks.now(bulk).state == "succeeded" and not bench.client.exists(keys.ACTIVE_BULKS), 120)
            assert [line["state"] for line in bulks.manifest(bulk)] == ["succeeded"] * 12
    measured(f"{len(before)} jobs before, {len(spoken)} spoken; Redis {len(snapshot)} bytes, {len(objects)} objects")
