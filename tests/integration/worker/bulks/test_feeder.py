"""The feeder on a real Redis and S3, with a device that speaks tones."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk, BulkState
from stentor.redis import keys
from stentor.settings import Settings
from stentor.voices.directory import VoiceDirectory
from tests.conftest import register_voice
from tests.support.speech.factories import ToneEngine
from tests.support.work.device import Bench
from tests.support.work.feeding import Bulks, a_row
from worker.bulks.chunks import ChunkStore
from worker.bulks.feeder import Feeder
from worker.finishing.canceled import remove_canceled


@dataclasses.dataclass
class Scene:
    """Bulks, a feeder and a device, one round at a time."""

    client: redis.Redis
    settings: Settings
    bench: Bench
    bulks: Bulks

    def __post_init__(self) -> None:
        self.feeder = Feeder(self.settings)

    def feed(self) -> None:
        self.feeder.tick(time.time())

    def until(self, done: Callable[[], bool], *, rounds: int = 200) -> None:
        """Feed and speak, in turn, until ``done``."""
        for _ in range(rounds):
            self.feed()
            if done():
                return
            self.bench.run()
        raise AssertionError(f"it did not come about in {rounds} rounds")

    def through(self, *all_bulks: Bulk) -> None:
        """Until these bulks have ended and the feeder has nothing more to do for them."""
        self.until(lambda: not self.client.smembers(keys.ACTIVE_BULKS))
        assert {self.bulks.now(bulk).state for bulk in all_bulks} == {"succeeded"}

    def in_lanes(self) -> int:
        return sum(self.client.xlen(str(lane)) for lane in self.client.smembers(keys.LANES))


@pytest.fixture
def scene(client: redis.Redis, settings: Settings, make: Callable[..., Bench]) -> Scene:
    register_voice(client)
    small = settings.model_copy(update={"bulk_window": 40})
    return Scene(client, small, make(ToneEngine(budget=2000)), Bulks(client, small))


def states(lines: list[dict[str, Any]]) -> list[str]:
    return [line["state"] for line in lines]


def test_every_row_is_spoken_and_the_manifest_tells_it_in_order(scene: Scene) -> None:
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(1, 101)))
    scene.through(bulk)
    lines = scene.bulks.manifest(bulk)
    assert [line["row"] for line in lines] == list(range(1, 101))
    assert set(states(lines)) == {"succeeded"}
    assert lines[9]["audio_s"] == 0.6
    assert lines[9]["job_id"] == bulks.job_id(bulk.id, 10)
    assert len(scene.bulks.storage.get(lines[9]["audio_key"])) == lines[9]["audio_bytes"]
    now = scene.bulks.now(bulk)
    assert (now.settled, now.succeeded, now.failed, now.canceled, now.in_lanes) == (100, 100, 0, 0, 0)
    assert now.audio_s == pytest.approx(sum(line["audio_s"] for line in lines))


def test_no_more_rows_than_the_window_has_are_in_the_lanes(scene: Scene) -> None:
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(200)))
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, scene.in_lanes())
        return not scene.client.smembers(keys.ACTIVE_BULKS)

    scene.until(done)
    assert scene.bulks.now(bulk).state == "succeeded"
    assert most == 40


def test_a_bulk_that_has_ended_leaves_its_hash_and_what_the_cache_remembers(scene: Scene) -> None:
    before = set(scene.client.scan_iter("*"))
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(60)))
    scene.through(bulk)
    left = {str(key) for key in set(scene.client.scan_iter("*")) - before}
    kinds = {key.rpartition(":")[0] if key.startswith("stentor:cache:") else key for key in left}
    lanes = {key for key in kinds if key.startswith("stentor:lane")}
    assert kinds - lanes == {
        keys.bulk(bulk.id), keys.bulks("acme"), "stentor:cache", "stentor:cached", keys.EVENTS,
        keys.queue("synthesis"), keys.BACKLOG, keys.OUTCOMES,
    }  # fmt: skip
    assert scene.client.ttl(keys.bulk(bulk.id)) > 0


def test_the_cache_remembers_the_latest_rows_and_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.claiming.claims.BULK_ROWS_CACHED", 10)
    scene.through(scene.bulks.of_texts(*(f"row {number}" for number in range(25))))
    assert len(list(scene.client.scan_iter("stentor:cache:*"))) == 10
    again = scene.bulks.of_texts(*(f"row {number}" for number in range(20, 25)))
    scene.through(again)
    assert scene.bulks.now(again).cached == 5


def test_one_bad_row_is_one_failed_row_and_is_named(scene: Scene) -> None:
    bulk = scene.bulks.of_texts("good one", "poison", "good two")
    scene.through(bulk)
    lines = scene.bulks.manifest(bulk)
    assert states(lines) == ["succeeded", "failed", "succeeded"]
    assert (lines[1]["error_code"], lines[1]["error_detail"]) == ("engine_failed", "this text is poison")
    now = scene.bulks.now(bulk)
    assert (now.succeeded, now.failed) == (2, 1)


def test_rows_that_checking_found_wrong_fail_with_what_it_found(scene: Scene) -> None:
    wrong = a_row(2, "", error={"code": "text_empty", "detail": "The text has 0 characters"})
    gone = a_row(3, "spoken by nobody", voice="nobody")
    bulk = scene.bulks.accepted([a_row(1, "good"), wrong, gone])
    scene.through(bulk)
    lines = scene.bulks.manifest(bulk)
    assert [line.get("error_code") for line in lines] == [None, "text_empty", "voice_unknown"]


def test_a_retry_speaks_failed_rows_again_and_no_others(scene: Scene) -> None:
    rows = [a_row(number, "poison" if number in {7, 1203} else f"row {number % 50}") for number in range(1, 1301)]
    bulk = scene.bulks.accepted(rows)
    scene.through(bulk)
    assert scene.bulks.store.failures(bulk.id) == {0: 1, 1: 1}
    spoken = len(scene.bench.engine.batches)
    scene.bench.engine.poisonous = False
    assert scene.bulks.move(bulk, "retry").state == "running"
    scene.through(bulk)
    texts = [text for batch in scene.bench.engine.batches[spoken:] for text in batch]
    assert texts == ["poison"]  # the second is an equal job
    now = scene.bulks.now(bulk)
    assert (now.rows, now.settled, now.succeeded, now.failed, now.retries) == (1300, 1300, 1300, 0, 1)
    lines = scene.bulks.manifest(bulk)
    assert [line["row"] for line in lines] == list(range(1, 1301))
    assert set(states(lines)) == {"succeeded"}
    assert scene.bulks.store.failures(bulk.id) == {}


def test_a_paused_bulk_leaves_the_lanes_and_goes_on_where_it_was(scene: Scene) -> None:
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(100)))
    scene.feed()
    scene.bench.run()
    scene.feed()
    assert scene.in_lanes() == 40
    scene.bulks.move(bulk, "pause")
    scene.feed()
    scene.feed()
    assert scene.in_lanes() == 0
    paused = scene.bulks.now(bulk)
    assert (paused.state, paused.in_lanes, paused.settled) == ("paused", 0, 40)
    assert scene.bulks.move(bulk, "resume").state == "running"
    scene.through(bulk)
    texts = sorted(text for batch in scene.bench.engine.batches for text in batch)
    assert texts == sorted(f"row {number}" for number in range(100)), "each once"


def test_a_canceled_bulk_leaves_the_lanes_and_its_rows_are_canceled(scene: Scene) -> None:
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(100)))
    scene.feed()
    scene.bench.run()
    scene.feed()
    canceled = scene.bulks.move(bulk, "cancel")
    scene.feed()
    scene.feed()
    assert scene.in_lanes() == 0
    assert not scene.client.smembers(keys.ACTIVE_BULKS)
    assert (canceled.state, canceled.succeeded, canceled.canceled_rows()) == ("canceled", 40, 60)
    lines = scene.bulks.manifest(bulk)
    assert states(lines) == ["succeeded"] * 40 + ["canceled"] * 60
    assert list(scene.client.scan_iter("stentor:job:*")) == []


def test_a_second_bulk_does_not_wait_for_the_first_to_end(scene: Scene) -> None:
    first = scene.bulks.of_texts(*(f"first {number}" for number in range(400)), key_id="a")
    scene.feed()
    second = scene.bulks.of_texts(*(f"second {number}" for number in range(40)), key_id="b")
    scene.until(lambda: scene.bulks.now(second).state == "succeeded")
    assert scene.bulks.now(first).settled <= 160


def test_every_step_may_be_done_twice(scene: Scene) -> None:
    """As after a crash in between, or with two feeders for a moment."""
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(30)))
    scene.feed()
    assert scene.client.hget(keys.open_chunks(bulk.id), "0") == "30"
    scene.client.hset(keys.open_chunks(bulk.id), "0", "0")
    other = Feeder(scene.settings)
    other.tick(time.time())
    assert scene.in_lanes() == 30
    assert scene.bulks.now(bulk).in_lanes == 30
    scene.bench.run()
    scene.client.hset(keys.open_chunks(bulk.id), "0", "10")
    other.tick(time.time())
    scene.feed()
    scene.feed()
    assert scene.in_lanes() == 0
    now = scene.bulks.now(bulk)
    assert (now.state, now.settled, now.succeeded, now.in_lanes) == ("succeeded", 30, 30, 0)


def test_a_feeder_that_stood_still_adds_nothing_to_what_another_has_done(scene: Scene) -> None:
    """It knows the bulk as it was, and goes on where it was, when all of it is in S3."""
    rows = [a_row(1, "one"), a_row(2, "two"), a_row(3, "", error={"code": "text_empty", "detail": "no text"})]
    bulk = scene.bulks.accepted(rows)
    scene.through(bulk)
    before = scene.client.hgetall(keys.bulk(bulk.id))
    late = ChunkStore(scene.client, scene.settings, scene.bulks.storage, VoiceDirectory(scene.client))
    assert late.open(dataclasses.replace(bulk, state=BulkState.RUNNING), 0) is False
    late.put_into_lanes(bulk, 0, 0, 10)
    late.take_out(bulk, 0, for_good=False)
    scene.bench.run()
    assert scene.client.hgetall(keys.bulk(bulk.id)) == before
    assert scene.client.exists(keys.open_chunks(bulk.id), keys.outcomes(bulk.id, 0)) == 0
    assert len(list(scene.client.scan_iter("stentor:job:*"))) == 0


def test_a_retry_before_the_feeder_has_looked_again_goes_through(scene: Scene) -> None:
    bulk = scene.bulks.of_texts("good", "poison")

    def pause_and_go_on(_texts: object) -> None:
        scene.bench.engine.on_batch = lambda _: None
        scene.bulks.move(bulk, "pause")
        scene.feed()
        scene.bulks.move(bulk, "resume")

    scene.bench.engine.on_batch = pause_and_go_on
    scene.feed()
    scene.bench.run()
    assert scene.bulks.now(bulk).state == "succeeded"
    scene.bench.engine.poisonous = False
    assert scene.bulks.move(bulk, "retry").state == "running"
    scene.through(bulk)
    assert states(scene.bulks.manifest(bulk)) == ["succeeded", "succeeded"]


def test_the_audio_of_a_row_is_removed_if_that_row_was_canceled_and_not_if_only_the_bulk_was(scene: Scene) -> None:
    bulk = scene.bulks.of_texts(*(f"row {number}" for number in range(60)))  # more than the window takes
    scene.feed()
    scene.bench.run()
    scene.bulks.move(bulk, "cancel")
    for in_redis in (True, False):
        if not in_redis:
            scene.until(lambda: not scene.client.smembers(keys.ACTIVE_BULKS))
        lines = scene.bulks.manifest(bulk)
        assert {"succeeded", "canceled"} == set(states(lines))
        for line in (*lines[:2], *lines[-2:]):
            key = line.get("audio_key") or f"audio/late-{line['row']}.wav"
            scene.bulks.storage.put(key, b"audio", content_type="audio/wav")
            assert (job := scene.bulks.results.row(scene.bulks.now(bulk), line["row"])) is not None
            assert job.state == line["state"]
            removed = remove_canceled(scene.client, scene.settings, bulks.job_id(bulk.id, line["row"]), key)
            assert removed is (line["state"] == "canceled")


def test_a_row_that_takes_its_time_holds_up_nobody(scene: Scene) -> None:
    """A job of the first chunk hangs about while the chunks after it go by."""
    bulk = scene.bulks.accepted([a_row(number, f"row {number % 20}") for number in range(1, 3001)])
    scene.feed()
    late = bulks.job_id(bulk.id, 1)
    lane, entry = scene.client.hmget(keys.job(late), "lane", "entry")
    scene.client.xreadgroup(keys.GROUP, "other/cpu", {str(lane): ">"}, count=1)
    taken = scene.client.xpending_range(str(lane), keys.GROUP, "-", "+", 10)
    assert [str(one["message_id"]) for one in taken] == [entry]

    def all_but_one() -> bool:
        open_chunks = list(scene.client.hgetall(keys.open_chunks(bulk.id)))
        return scene.bulks.now(bulk).settled == 2999 and open_chunks == ["0"]

    scene.until(all_but_one, rounds=300)
    assert (scene.bulks.now(bulk).state, scene.bulks.now(bulk).settled) == ("running", 2999)
    lines = scene.bulks.manifest(bulk)
    assert states(lines) == ["queued"] + ["succeeded"] * 2999


def test_a_bulk_that_cannot_be_dealt_with_is_put_aside_and_the_others_go_on(scene: Scene) -> None:
    broken = scene.bulks.of_texts("lost")
    scene.bulks.storage.delete(bulks.rows_key(broken.id, 0))
    whole = scene.bulks.of_texts("found")
    scene.until(lambda: scene.bulks.now(whole).state == "succeeded")
    assert scene.bulks.now(broken).settled == 0


def test_only_one_feeder_acts_at_a_time_and_another_takes_over(scene: Scene) -> None:
    first, second = Feeder(scene.settings), Feeder(scene.settings)
    assert first._lease.acquire()
    assert first._lease.acquire()
    assert not second._lease.acquire()
    first._lease.release()
    assert second._lease.acquire()
