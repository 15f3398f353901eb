"""Groups of rows, joined from a real S3 into a real S3."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import redis
import soundfile

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk
from stentor.errors import StorageUnavailable
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.work.bulks import BulkBench, failed, succeeded
from worker.bulks.groups import group_file, join
from worker.bulks.locking import LockTaken, lock
from worker.finishing import audio

RATE_HZ = 16_000


@pytest.fixture
def bench(client: redis.Redis, settings: Settings, storage: Storage) -> BulkBench:
    return BulkBench(client, settings, storage)


def constant(level: float, seconds: float, *, rate_hz: int = RATE_HZ, form: str = "wav") -> bytes:
    """Audio that is easily told apart: all samples have this level."""
    samples = np.full(round(seconds * rate_hz), level, np.float32)
    return audio.encode(samples, sample_rate_hz=rate_hz, format=form)


def described(*groups: tuple[str, list[int]], form: str = "wav") -> list[dict[str, Any]]:
    return [
        {"group": name, "rows": len(rows), "first_row": rows[0], "last_row": rows[-1], "format": form}
        for name, rows in groups
    ]


def told(bench: BulkBench, bulk: Bulk) -> dict[str, dict[str, Any]]:
    """What came of each group, by its name."""
    lines = [json.loads(line) for line in bench.storage.get(bulks.joined_key(bulk.id)).splitlines()]
    return {line["group"]: line for line in lines}


def heard(bench: BulkBench, line: dict[str, Any]) -> list[tuple[float, float]]:
    """The audio of a group as (level, seconds) of its stretches."""
    samples, rate_hz = soundfile.read(io.BytesIO(bench.storage.get(line["key"])), dtype="float32")
    assert rate_hz == RATE_HZ
    ends = [*(np.flatnonzero(np.diff(samples)) + 1).tolist(), len(samples)]
    starts = [0, *ends[:-1]]
    return [(round(float(samples[start]), 2), (end - start) / RATE_HZ) for start, end in zip(starts, ends, strict=True)]


def test_rows_of_a_group_are_joined_in_order_with_their_pauses(bench: BulkBench) -> None:
    rows: list[dict[str, Any]] = [
        {"group": "a"},
        {"group": "b", "pause_ms": 0},
        {"group": "a", "pause_ms": 1000},
        {"group": "b"},
        {},
    ]
    rows += [{"group": "a", "pause_ms": 5000}]
    bulk = bench.taken(rows, groups=described(("a", [1, 3, 6]), ("b", [2, 4])))
    levels = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5, 6: 0.6}
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, constant(level, 0.5)) for row, level in levels.items()})
    join(bulk.id, bench.settings)
    assert bench.now(bulk).groups_state == "ready"
    groups = told(bench, bulk)
    assert heard(bench, groups["a"]) == [(0.1, 0.5), (0.0, 0.3), (0.3, 0.5), (0.0, 1.0), (0.6, 0.5)]
    assert heard(bench, groups["b"]) == [(0.2, 0.5), (0.4, 0.5)]
    assert groups["a"]["audio_s"] == 2.8
    assert groups["a"]["key"] == bulks.group_key(bulk.id, "a.wav")
    assert groups["a"]["audio_bytes"] == len(bench.storage.get(groups["a"]["key"]))


def test_a_row_of_another_rate_gets_that_of_the_first(bench: BulkBench) -> None:
    bulk = bench.taken([{"group": "a"}, {"group": "a"}], groups=described(("a", [1, 2])))
    outcomes = {
        1: bench.spoken(bulk, 1, constant(0.1, 0.5)),
        2: bench.spoken(bulk, 2, constant(0.2, 0.5, rate_hz=48_000)),
    }
    bulk = bench.settle(bulk, outcomes)
    join(bulk.id, bench.settings)
    assert told(bench, bulk)["a"]["audio_s"] == pytest.approx(1.3, abs=0.001)


@pytest.mark.parametrize(("form", "kind"), [("flac", "FLAC"), ("mp3", "MP3"), ("ogg", "OGG"), ("wav", "WAV")])
def test_a_group_has_the_format_of_its_rows(bench: BulkBench, form: str, kind: str) -> None:
    rows = [{"group": "a", "format": form}] * 2
    bulk = bench.taken(rows, groups=described(("a", [1, 2]), form=form))
    body = constant(0.2, 1.0, form=form)
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, body, extension=form) for row in (1, 2)})
    join(bulk.id, bench.settings)
    line = told(bench, bulk)["a"]
    assert line["key"].endswith(f"/a.{form}")
    info = soundfile.info(io.BytesIO(bench.storage.get(line["key"])))
    assert (info.format, info.channels) == (kind, 1)
    assert info.duration == pytest.approx(2.3, abs=0.15)  # MP3 has some silence of its own at both ends of each row


def test_a_group_with_a_failed_row_is_not_joined_until_the_row_succeeds(bench: BulkBench) -> None:
    bulk = bench.taken([{"group": "a"}, {"group": "a"}, {"group": "b"}], groups=described(("a", [1, 2]), ("b", [3])))
    good = {row: bench.spoken(bulk, row, constant(0.1, 0.5)) for row in (1, 2, 3)}
    bulk = bench.settle(bulk, {**good, 2: failed()})
    join(bulk.id, bench.settings)
    groups = told(bench, bulk)
    assert groups["a"]["state"] == "failed"
    assert groups["a"]["error_code"] == "group_incomplete"
    assert groups["a"]["error_detail"] == "row 2 failed: engine_failed: this text is poison"
    assert groups["b"]["state"] == "succeeded"
    assert bench.storage.facts(bulks.group_key(bulk.id, "a.wav")) is None

    # The feeder opens the chunk again and keeps what succeeded.
    bench.store.move(bulk.id, bulk.owner, "retry")
    join(bulk.id, bench.settings)
    assert bench.now(bulk).groups_state is None
    bench.client.hset(keys.bulk(bulk.id), mapping={"failed": 0, "settled": 2, "succeeded": 2})
    bench.client.hdel(keys.bulk(bulk.id), "retry_wanted")
    bench.client.hset(keys.open_chunks(bulk.id), "0", 0)
    bench.client.hset(keys.outcomes(bulk.id, 0), mapping={row: json.dumps(good[row]) for row in (1, 3)})
    bulk = bench.settle(bulk, {2: good[2]})
    assert bulk.state == "succeeded"
    # What was joined is not asked for again: its audio could be gone.
    bench.storage.delete(bench.key_of(bulk, 3))
    join(bulk.id, bench.settings)
    again = told(bench, bulk)
    assert [again[name]["state"] for name in "ab"] == ["succeeded", "succeeded"]
    assert again["a"]["audio_s"] == 1.3
    assert again["b"] == groups["b"]


def test_audio_that_is_gone_or_is_none_fails_its_group_alone(bench: BulkBench) -> None:
    bulk = bench.taken([{"group": name} for name in "abc"], groups=described(("a", [1]), ("b", [2]), ("c", [3])))
    outcomes = {
        1: succeeded(audio_key="audio/nowhere.wav"),
        2: bench.spoken(bulk, 2, b"this is no audio"),
        3: bench.spoken(bulk, 3, constant(0.1, 0.5)),
    }
    bulk = bench.settle(bulk, outcomes)
    join(bulk.id, bench.settings)
    groups = told(bench, bulk)
    assert [groups[name]["state"] for name in "abc"] == ["failed", "failed", "succeeded"]
    assert groups["a"]["error_detail"] == "the audio of row 1 is gone from the storage"
    assert groups["b"]["error_detail"].startswith("the audio of row 2 cannot be decoded")


def test_joining_goes_on_where_it_was_broken_off(bench: BulkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = bench.taken([{"group": name} for name in "ab"], groups=described(("a", [1]), ("b", [2])))
    bulk = bench.settle(bulk, {row: bench.spoken(bulk, row, constant(0.1 * row, 0.5)) for row in (1, 2)})
    put_stream = Storage.put_stream

    def break_off(storage: Storage, key: str, *arguments: Any, **rest: Any) -> None:
        if key.endswith("/b.wav"):
            raise StorageUnavailable("the storage does not answer")
        put_stream(storage, key, *arguments, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "put_stream", break_off)
        with pytest.raises(StorageUnavailable):
            join(bulk.id, bench.settings)
    assert bench.now(bulk).groups_state == "joining"
    bench.storage.delete(bench.key_of(bulk, 1))
    join(bulk.id, bench.settings)
    assert [told(bench, bulk)[name]["state"] for name in "ab"] == ["succeeded", "succeeded"]


def test_many_groups_that_all_stay_open_are_joined_across_chunks(bench: BulkBench) -> None:
    count = 520
    names = [f"g{number}" for number in range(count)]
    rows = [{"group": name, "pause_ms": 0} for name in names * 2]
    groups = described(*[(name, [at, at + count]) for at, name in enumerate(names, start=1)])
    bulk = bench.taken(rows, groups=groups)
    body = constant(0.1, 0.01)
    bench.storage.put("audio/short.wav", body, content_type="audio/wav")
    outcome = succeeded(audio_key="audio/short.wav", audio_bytes=len(body))
    bulk = bench.settle(bulk, dict.fromkeys(range(1, 2 * count + 1), outcome))
    join(bulk.id, bench.settings)
    found = told(bench, bulk)
    assert sorted(found) == sorted(names)
    assert {line["audio_s"] for line in found.values()} == {0.02}


def test_two_do_not_join_at_once(bench: BulkBench) -> None:
    bulk = bench.taken([{"group": "a"}], groups=described(("a", [1])))
    bulk = bench.settle(bulk, {1: bench.spoken(bulk, 1, constant(0.1, 0.5))})
    with lock(bench.client, keys.bulk_lock(bulk.id, "groups")), pytest.raises(LockTaken):
        join(bulk.id, bench.settings)
    assert bench.now(bulk).groups_state is None


def test_a_groups_file_has_a_safe_name_of_its_own() -> None:
    assert group_file("chapter 1", "wav") == "chapter 1.wav"
    assert group_file("../x", "mp3") == "_x-d6b96a97d147.mp3"
    assert group_file("a/b", "wav").startswith("a_b-")
    assert group_file("a/b", "wav") != group_file("a:b", "wav")
    assert len(group_file("x" * 300, "wav")) == 120 + 1 + 12 + 4
