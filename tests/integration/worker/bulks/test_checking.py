"""Files of bulks, checked on a real Redis and S3 as the io worker does it, without Celery."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

import pytest
import redis

from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk
from stentor.bulks.manifest import rows_of
from stentor.bulks.store import BulkStore
from stentor.errors import RedisUnavailable, StorageUnavailable
from stentor.owners.access import Limits
from stentor.owners.usage import UsageStore
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.conftest import register_voice
from worker.bulks.checking import check

GOOD = b"id,text\na,We open at nine.\nb,We close at five.\n"
BAD = b"id,text,speed\na,We open at nine.,1\nb,,fast\n"


class Files:
    """Bulks whose files lie in S3."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.storage = Storage(settings)
        self.store = BulkStore(client, retention_s=settings.retention_s)

    def sent(self, body: bytes | None, **fields: Any) -> Bulk:
        """A bulk that is to be checked; without a body its file is not there."""
        bulk_id = bulks.new_id()
        bulk = Bulk(**{"id": bulk_id, "owner": "acme", "name": "a.csv", "source": bulks.source_key(bulk_id), **fields})
        if body is not None:
            self.storage.put(bulk.source, body, content_type="text/csv")
        return self.store.create(bulk)

    def checked(self, body: bytes | None, **fields: Any) -> Bulk:
        bulk = self.sent(body, **fields)
        check(bulk.id, self.settings)
        return self.now(bulk)

    def now(self, bulk: Bulk) -> Bulk:
        found = self.store.find(bulk.id)
        assert found is not None
        return found

    def errors(self, bulk: Bulk) -> list[dict[str, str]]:
        body = self.storage.get(bulks.errors_key(bulk.id)).decode()
        return list(csv.DictReader(io.StringIO(body)))


@pytest.fixture
def files(client: redis.Redis, settings: Settings) -> Files:
    register_voice(client)
    return Files(client, settings)


def test_a_good_file_is_accepted_with_its_rows_in_chunks(files: Files) -> None:
    bulk = files.checked(GOOD)
    assert (bulk.state, bulk.rows, bulk.chunks, bulk.chars) == ("waiting", 2, 1, 33)
    assert [row["text"] for row in rows_of(files.storage, bulk.id, 0)] == ["We open at nine.", "We close at five."]
    assert files.errors(bulk) == []
    assert bulk.report is not None
    assert (bulk.report["encoding"], bulk.report["delimiter"]) == ("utf-8", ",")


def test_a_bad_row_refuses_the_file_and_is_named(files: Files) -> None:
    bulk = files.checked(BAD)
    assert (bulk.state, bulk.error_code) == ("failed", "field_invalid")
    assert bulk.report is not None
    places = [(error["row"], error["column"], error["code"]) for error in bulk.report["errors"]]
    assert sorted(places) == [(2, "speed", "field_invalid"), (2, "text", "text_empty")]
    assert sorted(error["column"] for error in files.errors(bulk)) == ["speed", "text"]


def test_a_bad_row_that_may_be_skipped_goes_on_with_its_error(files: Files) -> None:
    bulk = files.checked(BAD, on_error="skip")
    assert (bulk.state, bulk.rows) == ("waiting", 2)
    assert [row.get("error", {}).get("code") for row in rows_of(files.storage, bulk.id, 0)] == [None, "field_invalid"]


def test_a_file_that_is_no_table_is_refused_as_a_whole(files: Files) -> None:
    bulk = files.checked(b"PK\x03\x04" + b"\x00" * 100)
    assert (bulk.state, bulk.error_code) == ("failed", "file_unreadable")
    assert [error["row"] for error in files.errors(bulk)] == ["0"]


def test_a_dry_run_ends_with_its_report(files: Files) -> None:
    bulk = files.checked(GOOD, dry_run=True)
    assert (bulk.state, bulk.rows, bulk.settled) == ("succeeded", 2, 0)
    assert bulk.report is not None
    assert bulk.report["estimated_audio_s"] == pytest.approx(33 / 15, abs=0.01)


def test_a_file_that_is_gone_is_named(files: Files) -> None:
    bulk = files.checked(None)
    assert (bulk.state, bulk.error_code) == ("failed", "source_not_found")


def test_a_file_may_lie_in_a_bucket_of_the_clients(files: Files) -> None:
    files.storage.client.create_bucket(Bucket="theirs")
    files.storage.client.put_object(Bucket="theirs", Key="in/a.csv", Body=GOOD)
    assert files.checked(None, source="s3://theirs/in/a.csv").rows == 2
    assert files.checked(None, source="s3://theirs/in/b.csv").error_code == "source_not_found"


def test_the_characters_of_a_bulk_count_once_and_have_a_limit(files: Files) -> None:
    limits = dataclasses.asdict(Limits(daily_chars=50))
    first = files.sent(GOOD, key_id="k", limits=limits)
    check(first.id, files.settings)
    files.client.hset(keys.bulk(first.id), "state", "checking")
    check(first.id, files.settings)
    used = [files.client.hget(str(key), "characters") for key in files.client.scan_iter("stentor:usage:k:*")]
    assert used == ["33"]
    refused = files.checked(GOOD, key_id="k", limits=limits)
    assert (refused.state, refused.error_code) == ("failed", "daily_chars_exceeded")


@pytest.mark.parametrize("counted", [False, True])
def test_a_check_that_dies_when_it_counts_characters_counts_them_the_next_time(
    files: Files, counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = files.sent(GOOD, key_id="k", limits=dataclasses.asdict(Limits(daily_chars=50)))
    count = UsageStore.add_characters

    def die(*args: Any, **options: Any) -> None:
        if counted:
            count(*args, **options)
        raise RedisUnavailable("the line was cut")

    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "add_characters", die)
        with pytest.raises(RedisUnavailable):
            check(bulk.id, files.settings)
    check(bulk.id, files.settings)
    assert files.now(bulk).state == "waiting"
    (day,) = files.client.scan_iter("stentor:usage:k:*")
    assert files.client.hget(str(day), "characters") == "33"


def test_a_file_that_ends_its_process_is_not_checked_for_ever(files: Files) -> None:
    bulk = files.sent(GOOD)
    files.client.hset(keys.bulk(bulk.id), "checks", files.settings.max_attempts)
    check(bulk.id, files.settings)
    assert files.now(bulk).error_code == "file_unreadable"
    assert "3 times" in (files.now(bulk).error_detail or "")


def test_a_storage_that_is_away_costs_no_attempt(files: Files, settings: Settings) -> None:
    bulk = files.sent(GOOD)
    away = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    for _ in range(settings.max_attempts + 1):
        with pytest.raises(StorageUnavailable):
            check(bulk.id, away)
    check(bulk.id, settings)
    assert files.now(bulk).state == "waiting"


def test_a_bulk_that_was_canceled_meanwhile_stays_so(files: Files) -> None:
    bulk = files.sent(GOOD)
    files.store.move(bulk.id, "acme", "cancel")
    check(bulk.id, files.settings)
    assert files.now(bulk).state == "canceled"


def test_checking_twice_changes_nothing(files: Files) -> None:
    bulk = files.checked(GOOD)
    before = files.client.hgetall(keys.bulk(bulk.id))
    check(bulk.id, files.settings)
    assert files.client.hgetall(keys.bulk(bulk.id)) == before
