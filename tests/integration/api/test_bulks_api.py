"""The bulks API against a real Redis and S3; what checks and feeds is played by the scripts that it uses."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from stentor.bulks import bulk as bulks
from stentor.bulks.bulk import Bulk
from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.doorbell import Doorbell
from stentor.errors import IdDuplicate, RedisUnavailable, StentorError
from stentor.owners.access import KeyStore
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.integration.api.test_jobs_api import refused
from tests.support.stacks.stack import eventually
from tests.support.work.bulks import BulkBench, all_succeeded, failed, succeeded

CSV = b"text,id\r\nYour parcel arrives on Tuesday.,a\r\nLane four is open.,b\r\n"
#: Requests that wait for a check that nobody makes need not wait long.
QUICK = {"bulk_wait_s": 0.0}


@pytest.fixture
def bench(client: redis.Redis, settings: Settings, storage: Storage) -> BulkBench:
    return BulkBench(client, settings, storage)


@pytest.fixture
def serve(client: redis.Redis, settings: Settings, http: FlaskClient) -> Callable[..., FlaskClient]:
    """The API with other settings."""

    def build(**changes: Any) -> FlaskClient:
        made = create_app(settings.model_copy(update=changes)).test_client()
        made.environ_base["HTTP_AUTHORIZATION"] = http.environ_base["HTTP_AUTHORIZATION"]
        return made

    return build


def test_a_bulk_that_is_in_redis_is_accepted_whatever_happens_to_the_message_about_it(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_rest: object) -> None:
        raise RedisUnavailable("the broker is away")

    monkeypatch.setattr(Doorbell, "ask", away)
    answer = http.post("/v1/bulks", **form())
    assert (answer.status_code, answer.get_json()["state"]) == (202, "checking")
    assert [bulk["id"] for bulk in http.get("/v1/bulks").get_json()["bulks"]] == [answer.get_json()["id"]]


def form(body: bytes = CSV, /, **fields: str) -> dict[str, Any]:
    return {"data": {"file": (io.BytesIO(body), "texts.csv"), **fields}, "content_type": "multipart/form-data"}


def by_hand(body: bytes) -> dict[str, Any]:
    """A form; werkzeug's client would leave a large one in a temporary file that is never closed."""
    head = b"--b\r\nContent-Disposition: form-data; name=file; filename=a.csv\r\n\r\n"
    return {"data": head + body + b"\r\n--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


@pytest.fixture
def checker(bench: BulkBench, client: redis.Redis) -> Iterator[Callable[[Callable[[Bulk], None]], None]]:
    """Plays the io worker: does something with the one bulk that comes to be checked."""
    threads: list[threading.Thread] = []

    def play(act: Callable[[Bulk], None]) -> None:
        def run() -> None:
            bulk_id = eventually(lambda: client.zrange(keys.bulks("acme"), 0, -1))[0]
            eventually(lambda: client.llen(keys.queue("io")))
            found = bench.store.find(str(bulk_id))
            assert found is not None
            act(found)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield play
    for thread in threads:
        thread.join()


def test_an_upload_is_put_into_s3_and_sent_to_be_checked(
    serve: Callable[..., FlaskClient], client: redis.Redis, storage: Storage
) -> None:
    http = serve(**QUICK)
    response = http.post(
        "/v1/bulks", **form(voice="tone", speed="1.25", format="mp3", on_error="skip", metadata='{"order": "7"}')
    )
    assert response.status_code == 202, response.get_json()
    bulk = response.get_json()
    assert response.headers["Location"] == f"/v1/bulks/{bulk['id']}"
    assert (bulk["state"], bulk["name"], bulk["priority"]) == ("checking", "texts.csv", "bulk")
    assert bulk["defaults"] == {"voice": "tone", "speed": 1.25, "seed": 0, "format": "mp3", "cache": True}
    assert bulk["metadata"] == {"order": "7"}
    assert bulk["waits_for"] == "a check of the file"
    assert (bulk["manifest"], bulk["errors_url"]) == (None, None)
    assert storage.get(bulks.source_key(bulk["id"])) == CSV
    (message,) = client.lrange(keys.queue("io"), 0, -1)
    assert json.loads(message)["headers"]["task"] == "stentor.check_bulk"
    assert http.get(response.headers["Location"]).get_json() == bulk


def test_a_file_that_is_taken_is_answered_when_it_has_been_checked(
    http: FlaskClient, bench: BulkBench, checker: Callable[..., None]
) -> None:
    checker(lambda bulk: bench.accepted(bulk, [{}, {}]))
    response = http.post("/v1/bulks", **form())
    assert response.status_code == 202
    bulk = response.get_json()
    assert (bulk["state"], bulk["counts"]["rows"], bulk["counts"]["queued"]) == ("waiting", 2, 2)
    assert bulk["report"]["encoding"] == "utf-8"
    assert bulk["estimated_audio_s"] == 2.9
    assert bulk["waits_for"] == "a device"
    assert bulk["manifest"]["csv"] == f"http://localhost/v1/bulks/{bulk['id']}/manifest.csv"


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_a_bad_file_is_refused_with_its_errors_row_by_row(
    http: FlaskClient, bench: BulkBench, checker: Callable[..., None], storage: Storage, dry_run: str
) -> None:
    wrong = [{"row": 2, "column": "id", "code": "id_duplicate", "detail": "row 1 has the id 'a', too"}]

    def refuse(bulk: Bulk) -> None:
        storage.put(bulks.errors_key(bulk.id), b"row,column,code,detail\r\n2,id,...\r\n", content_type="text/csv")
        report = {"errors": wrong, "error_counts": {"id_duplicate": 1}}
        bench.store.refuse(bulk.id, IdDuplicate("row 2, column 'id': row 1 has the id 'a', too"), {"report": report})

    checker(refuse)
    problem = refused(http.post("/v1/bulks", **form(dry_run=dry_run)), 422, "id_duplicate")
    assert problem["errors"] == wrong
    assert problem["error_counts"] == {"id_duplicate": 1}
    bulk = http.get(f"/v1/bulks/{problem['bulk_id']}").get_json()
    assert (bulk["state"], bulk["errors"], bulk["error"]["code"]) == ("failed", wrong, "id_duplicate")
    assert bulk["errors_url"] == problem["errors_url"]
    assert http.get(str(problem["errors_url"])).get_data().startswith(b"row,column,code,detail\r\n2,id")
    refused(http.get(f"/v1/bulks/{problem['bulk_id']}/rows"), 409, "bulk_state_conflict")
    refused(http.post(f"/v1/bulks/{problem['bulk_id']}/archive"), 409, "bulk_state_conflict")


def test_a_dry_run_of_a_good_file_answers_what_was_found(
    http: FlaskClient, client: redis.Redis, bench: BulkBench, checker: Callable[..., None]
) -> None:
    now = time.time()
    device = DeviceStatus(
        id="h/cpu", pid=1, state=DeviceState.IDLE, started_at=now, seen_at=now, audio_s=600.0, busy_s=100.0
    )
    DeviceRegistry(client, lease_s=60).report(device)
    report = {"encoding": "gb18030", "estimated_audio_s": 12.0, "errors": []}
    checker(lambda bulk: bench.store.finish_dry_run(bulk.id, {"rows": 3, "chars": 180, "report": report}))
    response = http.post("/v1/bulks", **form(dry_run="true"))
    assert response.status_code == 200
    bulk = response.get_json()
    assert (bulk["state"], bulk["dry_run"], bulk["estimated_audio_s"]) == ("succeeded", True, 12.0)
    assert bulk["eta_s"] == 2.0
    assert bulk["estimated_finish_at"] is not None
    assert bulk["report"] == {"encoding": "gb18030", "estimated_audio_s": 12.0}
    assert bulk["counts"] == {
        "rows": 3, "queued": 0, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0, "cached": 0,
    }  # fmt: skip
    refused(http.get(f"/v1/bulks/{bulk['id']}/manifest.csv"), 409, "bulk_state_conflict")
    refused(http.get(f"/v1/bulks/{bulk['id']}/archive.zip"), 404, "bulk_file_not_found")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"voice": "nobody"}, "voice_unknown", "voice"),
        ({"speed": "fast"}, "field_invalid", "speed"),
        ({"speed": "nan"}, "field_invalid", "speed"),
        ({"format": "aiff"}, "field_invalid", "format"),
        ({"dry_run": "0"}, "field_invalid", "dry_run"),
        ({"archive": "yes"}, "field_invalid", "archive"),
        ({"priority": "asap"}, "field_invalid", "priority"),
        ({"on_error": "ignore"}, "field_invalid", "on_error"),
        ({"metadata": "not json"}, "field_invalid", "metadata"),
        ({"metadata": "[1]"}, "field_invalid", "metadata"),
        ({"voise": "tone"}, "field_invalid", "voise"),
        ({"name": "x" * 201}, "field_invalid", "name"),
        ({"webhook_url": "ftp://example.com/"}, "url_invalid", "webhook_url"),
        ({"webhook_url": "http://127.0.0.1:9/"}, "url_refused", "webhook_url"),
        ({"webhook_url": "http://169.254.169.254/latest"}, "url_refused", "webhook_url"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(
    http: FlaskClient, client: redis.Redis, fields: dict[str, str], code: str, field: str
) -> None:
    before = set(client.keys("*"))
    problem = refused(http.post("/v1/bulks", **form(CSV, **fields)), 422, code)
    assert problem["errors"][0]["field"] == field  # type: ignore[index]
    assert set(client.keys("*")) == before


def test_a_form_without_a_file_or_with_another_part_is_named(http: FlaskClient) -> None:
    for data in (
        {"voice": "tone"},
        {"file": "text,id"},
        {"file": (io.BytesIO(CSV), "a.csv"), "more": (io.BytesIO(CSV), "b.csv")},
    ):
        response = http.post("/v1/bulks", data=data, content_type="multipart/form-data")
        refused(response, 422, "field_invalid")
    refused(http.post("/v1/bulks", data=CSV, content_type="text/csv"), 415, "content_type_unsupported")
    refused(http.post("/v1/bulks", **form(b"")), 422, "file_empty")


def test_a_file_may_be_larger_than_other_bodies_and_not_larger_than_allowed(
    serve: Callable[..., FlaskClient], storage: Storage
) -> None:
    http = serve(max_body_bytes=1024, bulk_max_bytes=40 * 2**20, **QUICK)
    large = b"text\n" + b"This is a text.\n" * (20 * 2**16)
    response = http.post("/v1/bulks", **by_hand(large))
    assert response.status_code == 202
    assert storage.get(bulks.source_key(response.get_json()["id"])) == large
    refused(http.post("/v1/bulks", **by_hand(b"x" * (40 * 2**20 + 1))), 413, "file_too_large")
    refused(http.post("/v1/bulks", **by_hand(b"x" * (41 * 2**20))), 413, "file_too_large")


def test_a_source_in_an_allowed_bucket_is_read_and_any_other_is_refused(
    serve: Callable[..., FlaskClient], settings: Settings, storage: Storage, bench: BulkBench
) -> None:
    http = serve(bulk_sources=f"elsewhere,{settings.s3_bucket}", **QUICK)
    storage.put("in/a file.csv", CSV, content_type="text/csv")
    source = f"s3://{settings.s3_bucket}/in/a file.csv"
    response = http.post("/v1/bulks", json={"source": source, "speed": 2})
    assert response.status_code == 202, response.get_json()
    bulk = bench.store.find(response.get_json()["id"])
    assert bulk is not None
    assert (bulk.source, bulk.name, bulk.defaults["speed"]) == (source, "a file.csv", 2)
    missing = {"source": f"s3://{settings.s3_bucket}/in/nothing.csv"}
    refused(http.post("/v1/bulks", json=missing), 422, "source_not_found")
    refused(http.post("/v1/bulks", json={"source": "s3://elsewhere/x"}), 422, "source_not_found")
    refused(http.post("/v1/bulks", json={"source": "s3://private/x"}), 422, "source_refused")
    refused(http.post("/v1/bulks", json={"source": "file:///etc/passwd"}), 422, "field_invalid")
    refused(http.post("/v1/bulks", json={"source": source, "speed": "2"}), 422, "field_invalid")
    refused(serve(**QUICK).post("/v1/bulks", json={"source": source}), 422, "source_refused")


@pytest.mark.parametrize("way", ["", "/", "./", "in/../", "in/./../", "in//../"])
def test_what_is_anothers_cannot_be_named_as_a_source_by_any_spelling(
    serve: Callable[..., FlaskClient], settings: Settings, storage: Storage, way: str
) -> None:
    http = serve(bulk_sources=f"elsewhere,{settings.s3_bucket}", **QUICK)
    anothers = bulks.source_key(bulks.new_id())
    storage.put(anothers, CSV, content_type="text/csv")
    for bucket in (settings.s3_bucket, "elsewhere/../" + settings.s3_bucket):
        refused(http.post("/v1/bulks", json={"source": f"s3://{bucket}/{way}{anothers}"}), 422, "source_refused")


def test_another_owners_bulk_is_not_found(http: FlaskClient, client: redis.Redis, bench: BulkBench) -> None:
    bulk = bench.settle(bench.taken([{}, {}]), all_succeeded([1]))
    http.environ_base["HTTP_AUTHORIZATION"] = "Bearer " + KeyStore(client).create(owner="other", name="theirs")
    at = f"/v1/bulks/{bulk.id}"
    reads = ["", "/rows", "/manifest.jsonl", "/manifest.csv", "/errors.csv", "/archive.zip", "/groups", "/groups/a"]
    for path in reads:
        refused(http.get(f"{at}{path}"), 404, "bulk_not_found")
    for path in ("/pause", "/resume", "/cancel", "/retry", "/archive"):
        refused(http.post(f"{at}{path}"), 404, "bulk_not_found")
    refused(http.delete(at), 404, "bulk_not_found")
    for row in (1, 2):
        refused(http.get(f"/v1/jobs/{bulks.job_id(bulk.id, row)}"), 404, "job_not_found")
        refused(http.get(f"/v1/jobs/{bulks.job_id(bulk.id, row)}/audio"), 404, "job_not_found")
        refused(http.delete(f"/v1/jobs/{bulks.job_id(bulk.id, row)}"), 404, "job_not_found")
    assert http.get("/v1/bulks").get_json() == {"bulks": [], "next_cursor": None}


def test_a_key_that_may_only_look_submits_nothing(http: FlaskClient, client: redis.Redis, bench: BulkBench) -> None:
    bulk = bench.taken([{}])
    secret = KeyStore(client).create(owner="acme", name="reader", scopes=("read",))
    http.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    assert http.get(f"/v1/bulks/{bulk.id}").status_code == 200
    refused(http.post("/v1/bulks", **form()), 403, "scope_missing")
    refused(http.post(f"/v1/bulks/{bulk.id}/cancel"), 403, "scope_missing")
    refused(http.post(f"/v1/bulks/{bulk.id}/archive"), 403, "scope_missing")


def test_bulks_are_listed_newest_first_in_pages_and_by_state(http: FlaskClient, bench: BulkBench) -> None:
    made = [f"bulk_{number:026d}" for number in range(5)]
    for bulk_id in made:
        bench.taken([{}], id=bulk_id)
    http.post(f"/v1/bulks/{made[2]}/cancel")
    seen: list[str] = []
    query = "limit=2"
    while query:
        page = http.get(f"/v1/bulks?{query}").get_json()
        seen += [bulk["id"] for bulk in page["bulks"]]
        query = f"limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == made[::-1]
    assert [bulk["id"] for bulk in http.get("/v1/bulks?state=canceled").get_json()["bulks"]] == [made[2]]
    refused(http.get("/v1/bulks?state=done"), 422, "field_invalid")


def test_a_bulk_is_paused_resumed_and_canceled_where_that_makes_sense(http: FlaskClient, bench: BulkBench) -> None:
    bulk = bench.taken([{}, {}, {}])
    at = f"/v1/bulks/{bulk.id}"
    refused(http.post(f"{at}/resume"), 409, "bulk_state_conflict")
    paused = http.post(f"{at}/pause").get_json()
    assert (paused["state"], paused["waits_for"]) == ("paused", "resume")
    assert http.post(f"{at}/resume").get_json()["state"] == "waiting"
    bench.settle(bulk, all_succeeded([1]))
    canceled = http.delete(at).get_json()
    assert canceled["state"] == "canceled"
    assert canceled["counts"] == {
        "rows": 3, "queued": 0, "running": 0, "succeeded": 1, "failed": 0, "canceled": 2, "cached": 0,
    }  # fmt: skip
    problem = refused(http.post(f"{at}/cancel"), 409, "bulk_state_conflict")
    assert "canceled" in str(problem["detail"])
    assert [row["state"] for row in http.get(f"{at}/rows").get_json()["rows"]] == ["succeeded", "canceled", "canceled"]


def test_only_a_bulk_with_failed_rows_is_tried_again(http: FlaskClient, bench: BulkBench) -> None:
    good = bench.settle(bench.taken([{}]), all_succeeded([1]))
    refused(http.post(f"/v1/bulks/{good.id}/retry"), 409, "bulk_state_conflict")
    bad = bench.settle(bench.taken([{}]), {1: failed()})
    again = http.post(f"/v1/bulks/{bad.id}/retry").get_json()
    assert (again["state"], again["retries"]) == ("running", 1)


def test_wait_ends_with_the_bulk(http: FlaskClient, bench: BulkBench) -> None:
    bulk = bench.taken([{}])
    timer = threading.Timer(0.3, lambda: bench.settle(bulk, all_succeeded([1])))
    timer.start()
    found = http.get(f"/v1/bulks/{bulk.id}?wait=30").get_json()
    timer.join()
    assert found["state"] == "succeeded"
    assert found["counts"]["succeeded"] == 1
    assert found["audio_s"] == 1.5


def lines_of(response: TestResponse) -> list[dict[str, Any]]:
    assert response.status_code == 200
    return [json.loads(line) for line in response.get_data().splitlines()]


def test_the_manifest_is_complete_while_the_bulk_runs_and_has_whole_urls(
    serve: Callable[..., FlaskClient], bench: BulkBench
) -> None:
    http = serve(public_url="https://speech.example/api/")
    bulk = bench.taken([{"id": f"n{row}", "metadata": {"x": ",/v1/jobs/"}} for row in range(1, 2502)])
    bench.settle(bulk, {**all_succeeded(range(1, 1001)), 1500: failed()})
    lines = lines_of(http.get(f"/v1/bulks/{bulk.id}/manifest.jsonl"))
    assert [line["row"] for line in lines] == list(range(1, 2502))
    assert [line["state"] for line in lines].count("succeeded") == 1000
    assert (lines[1499]["state"], lines[1499]["error_code"], lines[2500]["state"]) == (
        "failed", "engine_failed", "queued",
    )  # fmt: skip
    job_id = bulks.job_id(bulk.id, 7)
    assert lines[6]["audio_url"] == f"https://speech.example/api/v1/jobs/{job_id}/audio"
    assert lines[6]["metadata"] == {"x": ",/v1/jobs/"}
    response = http.get(f"/v1/bulks/{bulk.id}/manifest.csv")
    assert response.content_type == "text/csv; charset=utf-8"
    text = response.get_data(as_text=True)
    assert text.count("\r\n") == 2502
    assert f",https://speech.example/api/v1/jobs/{job_id}/audio," in text
    assert '"{""x"": "",/v1/jobs/""}"' in text


def test_a_manifest_that_breaks_off_is_not_taken_for_a_whole_one(
    http: FlaskClient, bench: BulkBench, storage: Storage
) -> None:
    bulk = bench.taken([{}] * 2001)
    storage.delete(bulks.rows_key(bulk.id, 1))
    with pytest.raises(StentorError):
        http.get(f"/v1/bulks/{bulk.id}/manifest.jsonl").get_data()
    storage.delete(bulks.rows_key(bulk.id, 0))
    refused(http.get(f"/v1/bulks/{bulk.id}/manifest.jsonl"), 404, "audio_not_found")


def test_rows_are_listed_in_pages_and_by_state_wherever_they_are(http: FlaskClient, bench: BulkBench) -> None:
    bulk = bench.taken([{}] * 3500)
    bench.settle(bulk, {**all_succeeded(range(1, 1000)), 1000: failed("audio_invalid", "it is silent")})
    bench.settle(bulk, {2001: failed(), 2002: succeeded()})

    def listed(query: str) -> list[int]:
        rows: list[int] = []
        cursor: int | None = 0
        while cursor is not None:
            page = http.get(f"/v1/bulks/{bulk.id}/rows?{query}&cursor={cursor}").get_json()
            rows += [row["row"] for row in page["rows"]]
            cursor = page["next_cursor"]
        return rows

    assert listed("limit=700") == list(range(1, 3501))
    assert listed("state=failed") == [1000, 2001]
    assert listed("state=failed&limit=1") == [1000, 2001]
    assert listed("state=succeeded&limit=1000") == [*range(1, 1000), 2002]
    assert len(listed("state=queued&limit=1000")) == 3500 - 1002
    assert listed("state=canceled") == []
    (row,) = http.get(f"/v1/bulks/{bulk.id}/rows?state=failed&limit=1").get_json()["rows"]
    assert (row["error_code"], row["error_detail"], row["audio_url"]) == ("audio_invalid", "it is silent", None)
    refused(http.get(f"/v1/bulks/{bulk.id}/rows?state=running"), 422, "field_invalid")
    refused(http.get(f"/v1/bulks/{bulk.id}/rows?cursor=-1"), 422, "field_invalid")


def test_looking_for_rows_of_a_state_looks_at_so_many_chunks_at_a_time(http: FlaskClient, bench: BulkBench) -> None:
    bulk = bench.taken([{}] * 25_000)
    page = http.get(f"/v1/bulks/{bulk.id}/rows?state=succeeded").get_json()
    assert page == {"rows": [], "next_cursor": 20_000}
    page = http.get(f"/v1/bulks/{bulk.id}/rows?state=succeeded&cursor=20000").get_json()
    assert page == {"rows": [], "next_cursor": None}


def test_a_row_is_a_job_like_any_other_before_and_after_it_is_spoken(
    http: FlaskClient, bench: BulkBench, settings: Settings
) -> None:
    bulk = bench.taken([{"id": "a", "metadata": {"order": "7"}}, {}, {}])
    bench.settle(bulk, {1: bench.spoken(bulk, 1, b"RIFF...."), 2: failed()})
    first, second, third = (bulks.job_id(bulk.id, row) for row in (1, 2, 3))
    job = http.get(f"/v1/jobs/{first}").get_json()
    assert (job["state"], job["bulk"], job["row"], job["audio_s"]) == ("succeeded", bulk.id, 1, 1.5)
    assert (job["text_chars"], job["metadata"]) == (len("This is text number 1."), {"order": "7"})
    assert job["audio_url"].startswith(settings.s3_endpoint)
    assert http.get(f"/v1/jobs/{first}/audio?inline=1").get_data() == b"RIFF...."
    assert http.get(f"/v1/jobs/{second}").get_json()["error"]["code"] == "engine_failed"
    refused(http.get(f"/v1/jobs/{second}/audio"), 404, "audio_not_found")
    assert http.get(f"/v1/jobs/{third}").get_json()["state"] == "queued"
    refused(http.get(f"/v1/jobs/{third}/audio"), 409, "audio_not_ready")
    refused(http.delete(f"/v1/jobs/{first}"), 409, "job_settled")
    refused(http.delete(f"/v1/jobs/{third}"), 409, "bulk_state_conflict")
    bench.settle(bulk, {3: failed()})
    assert http.get(f"/v1/jobs/{first}").get_json() == {
        **job,
        "audio_url": http.get(f"/v1/jobs/{first}").get_json()["audio_url"],
    }
    for wrong in (bulks.job_id(bulk.id, 4), bulks.job_id(bulk.id, 0), "job_x_1"):
        refused(http.get(f"/v1/jobs/{wrong}"), 404, "job_not_found")


def test_an_archive_is_asked_for_once_and_fetched_in_parts_when_it_is_packed(
    http: FlaskClient, bench: BulkBench, client: redis.Redis, settings: Settings
) -> None:
    bulk = bench.taken([{}])
    at = f"/v1/bulks/{bulk.id}"
    refused(http.get(f"{at}/archive.zip"), 404, "bulk_file_not_found")
    asked = http.post(f"{at}/archive")
    assert (asked.status_code, asked.get_json()["archive"]["state"]) == (202, "waiting")
    assert client.llen(keys.queue("io")) == 0  # the feeder asks when the bulk has ended
    refused(http.get(f"{at}/archive.zip"), 409, "file_not_ready")
    bench.settle(bulk, all_succeeded([1]))
    assert http.post(f"{at}/archive").get_json()["archive"]["state"] == "packing"
    assert client.llen(keys.queue("io")) == 1
    bench.store.put(bulk.id, archive_state="ready", archive_keys=["bulk/1.zip", "bulk/2.zip"])
    assert http.post(f"{at}/archive").get_json()["archive"] == {
        "state": "ready",
        "urls": [f"http://localhost{at}/archive.zip?part=1", f"http://localhost{at}/archive.zip?part=2"],
    }
    assert client.llen(keys.queue("io")) == 1
    redirect = http.get(f"{at}/archive.zip?part=2")
    assert redirect.status_code == 302
    assert redirect.headers["Location"].startswith(f"{settings.s3_endpoint}/stentor/bulk/2.zip")
    refused(http.get(f"{at}/archive.zip?part=3"), 404, "bulk_file_not_found")


def test_groups_are_listed_before_and_after_they_are_joined(
    http: FlaskClient, bench: BulkBench, storage: Storage
) -> None:
    described = [
        {"group": name, "rows": 1, "first_row": row, "last_row": row, "format": "wav"}
        for row, name in enumerate(["one", "two/三", "bad"], start=1)
    ]
    bulk = bench.taken([{"group": one["group"]} for one in described], groups=described)
    at = f"/v1/bulks/{bulk.id}/groups"
    assert http.get(f"/v1/bulks/{bulk.id}").get_json()["groups"] == "waiting"
    page = http.get(f"{at}?limit=2").get_json()
    assert [(one["group"], one["state"]) for one in page["groups"]] == [("one", "waiting"), ("two/三", "waiting")]
    assert [one["group"] for one in http.get(f"{at}?cursor={page['next_cursor']}").get_json()["groups"]] == ["bad"]
    refused(http.get(f"{at}/one"), 409, "file_not_ready")
    joined = [
        {"group": "one", "rows": 1, "state": "succeeded", "key": "bulk/x/one.wav", "audio_s": 1.5},
        {"group": "two/三", "rows": 1, "state": "succeeded", "key": "bulk/x/two_三-1.wav", "audio_s": 1.5},
        {
            "group": "bad",
            "rows": 1,
            "state": "failed",
            "error_code": "group_incomplete",
            "error_detail": "row 3 failed",
        },
    ]
    body = "".join(json.dumps(line) + "\n" for line in joined).encode()
    storage.put(bulks.joined_key(bulk.id), body, content_type="application/jsonl")
    bench.store.put(bulk.id, groups_state="ready")
    groups = http.get(at).get_json()["groups"]
    assert [one["state"] for one in groups] == ["succeeded", "succeeded", "failed"]
    assert groups[2]["error"]["code"] == "group_incomplete"
    assert http.get(f"{at}/two/三").headers["Location"].partition("?")[0].endswith("/bulk/x/two_%E4%B8%89-1.wav")
    refused(http.get(f"{at}/bad"), 404, "audio_not_found")
    refused(http.get(f"{at}/nobody"), 404, "bulk_file_not_found")
