"""`/metrics` of a real scheduler and of a real API with two processes, read over HTTP as Prometheus reads it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from stentor.devices.registry import DeviceRegistry, DeviceStatus
from stentor.local.servers.ports import usable_port
from stentor.redis.client import connect
from tests.conftest import register_voice
from tests.support.speech.factories import TONE, ToneEngine
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually
from tests.support.work.device import Bench

Samples = dict[tuple[str, ...], float]
DEVICE = "testhost/cpu"


def scraped(url: str) -> Samples:
    """Name and values of the labels in the order of their names -> value."""
    answer = httpx.get(f"{url}/metrics", timeout=10, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


class Watched:
    """An API, a scheduler, and what they tell."""

    def __init__(self, rooms: Rooms, client: redis.Redis, port: int, folder: Path) -> None:
        self.rooms = rooms
        self.client = client
        self.folder = folder
        self.scheduler_url = f"http://127.0.0.1:{port}"

    def api(self) -> Samples:
        return scraped(self.rooms.url)

    def scheduler(self, key: tuple[str, ...], value: float) -> Samples:
        """What the scheduler tells as soon as a sample has this value."""
        last: Samples = {}

        def told() -> bool:
            with contextlib.suppress(httpx.TransportError):
                last.update(scraped(self.scheduler_url))
            return last.get(key) == value

        eventually(told)
        return scraped(self.scheduler_url)

    def post(self, **body: object) -> str:
        answer = self.rooms.http("POST", "/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def report(self, **fields: object) -> None:
        now = time.time()
        status = DeviceStatus(id=DEVICE, pid=1, state="idle", model=TONE, started_at=now, seen_at=now, **fields)  # type: ignore[arg-type]
        DeviceRegistry(self.client, lease_s=60).report(status)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("metrics")
    port = usable_port(0, "127.0.0.1")
    bind = f"127.0.0.1:{port}"
    environ = {"STENTOR_DEFAULT_VOICE": TONE, "STENTOR_METRICS_BIND": bind, "TMPDIR": str(folder), "STENTOR_HOST": "h"}
    with (
        rooms_apart(folder / "near", folder, **environ) as rooms,
        contextlib.closing(connect(rooms.settings)) as client,
    ):
        register_voice(client)
        rooms.start("api")
        rooms.start("scheduler")
        eventually(lambda: _answers(rooms), 60)
        yield Watched(rooms, client, port, folder)
    assert list(folder.glob("stentor-api-metrics-*")) == [], "the API leaves nothing behind"


def _answers(rooms: Rooms) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return rooms.http("GET", "/healthz").status_code == 200
    return False


def test_a_scheduler_tells_what_waits_what_came_of_jobs_and_what_devices_did(watched: Watched) -> None:
    # First, so that no look that sees all that waits has begun before it was canceled.
    canceled = watched.post(text="Never mind.", priority="bulk")
    assert watched.rooms.http("DELETE", f"/v1/jobs/{canceled}").status_code == 200
    spoken = [watched.post(text=f"Parcel {number} arrives on Tuesday.", cache=False) for number in range(3)]
    watched.post(text="A text of poison.")
    watched.report(rows=4, sizes=(0, 0, 1, 0, 0, 0, 0, 0, 0), busy_s=0.5, times=(0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    before = watched.scheduler(("stentor_jobs_waiting", TONE, "standard"), 4)
    assert before["stentor_oldest_wait_seconds", TONE, "standard"] > 0
    assert ("stentor_jobs_waiting", TONE, "bulk") not in before

    bench = Bench(watched.client, watched.rooms.settings.model_copy(update={"merge_window_ms": 0}), ToneEngine())
    with contextlib.closing(bench.drain):
        bench.run()
    assert len(watched.rooms.settled(spoken)) == 3
    after = watched.scheduler(("stentor_jobs_total", "", "succeeded"), 3)
    assert {key[1:]: value for key, value in after.items() if key[0] == "stentor_jobs_total"} == {
        ("", "succeeded"): 3,
        ("", "canceled"): 1,
        ("engine_failed", "failed"): 1,
    }
    assert not [key for key in after if key[0] == "stentor_jobs_waiting"]
    assert after["stentor_scheduler_leader",] == 1
    assert after["stentor_devices", "idle"] == 1
    assert after["stentor_models_resident", TONE] == 1
    assert after["stentor_batch_rows_bucket", DEVICE, "2.0"] == 0
    assert after["stentor_batch_rows_bucket", DEVICE, "4.0"] == 1
    assert after["stentor_batch_seconds_sum", DEVICE] == 0.5
    assert after["stentor_webhook_events",] == 0
    assert after["stentor_job_seconds_count", "standard"] == 4, "the canceled one is not among them"
    assert 0 < after["stentor_job_seconds_sum", "standard"] < 4 * 60
    assert after["stentor_redis_up",] == 1
    # The leader has asked for a sweep, and no io worker is there to hear it.
    assert after["stentor_queue_messages", "io"] == 1
    assert after["stentor_scheduler_tick_seconds_count",] >= 2


def test_counts_of_a_device_begin_anew_with_its_next_process_and_no_other_does(watched: Watched) -> None:
    watched.report(batches=9, rows=90, sizes=(0, 0, 0, 0, 9, 0, 0, 0, 0), audio_s=120.0)
    first = watched.scheduler(("stentor_batch_rows_sum", DEVICE), 90)
    watched.report(batches=1, rows=2, sizes=(0, 1, 0, 0, 0, 0, 0, 0, 0), audio_s=1.5)
    second = watched.scheduler(("stentor_batch_rows_sum", DEVICE), 2)
    # As `rate()` understands it: a histogram goes back as a whole, and each of its classes to no more than it has.
    assert second["stentor_audio_seconds_total", DEVICE] == 1.5
    buckets = [value for key, value in second.items() if key[0] == "stentor_batch_rows_bucket"]
    assert buckets == sorted(buckets)
    assert second["stentor_batch_rows_count", DEVICE] == 1
    others = [key for key in first if key[0].endswith("_total") and DEVICE not in key]
    assert len(others) > 2
    assert [key for key in others if second[key] < first[key]] == []


def test_two_processes_of_an_api_count_together_and_by_route(watched: Watched) -> None:
    before = watched.api()
    ids = [watched.post(text="Hello.", priority="bulk") for _ in range(12)]
    for job in ids:
        assert watched.rooms.http("GET", f"/v1/jobs/{job}").status_code == 200
    assert watched.rooms.http("GET", "/v1/jobs/job_none").status_code == 404
    assert watched.rooms.http("GET", "/wp-login.php").status_code == 404
    assert watched.rooms.http("BREW", "/v1/jobs").status_code == 405
    after = watched.api()

    def grown(*key: str) -> float:
        return after[key] - before.get(key, 0.0)

    assert grown("stentor_http_requests_total", "POST", "/v1/jobs", "202") == 12
    assert grown("stentor_http_requests_total", "GET", "/v1/jobs/<job_id>", "200") == 12
    assert grown("stentor_http_requests_total", "GET", "/v1/jobs/<job_id>", "404") == 1
    assert grown("stentor_http_requests_total", "GET", "none", "404") == 1
    assert grown("stentor_http_requests_total", "OTHER", "none", "405") == 1
    assert grown("stentor_http_request_seconds_count", "POST", "/v1/jobs") == 12
    assert after["stentor_http_requests_in_flight",] == 1, "the one that asks"
    assert not [key for key in after if "wp-login" in str(key) or "BREW" in key]


def test_who_waits_is_in_flight(watched: Watched) -> None:
    job = watched.post(text="Nobody speaks this.", priority="bulk")
    waiting = threading.Thread(target=watched.rooms.http, args=("GET", f"/v1/jobs/{job}?wait=20"))
    waiting.start()
    eventually(lambda: watched.api()["stentor_http_requests_in_flight",] == 2)
    assert watched.rooms.http("DELETE", f"/v1/jobs/{job}").status_code == 200
    waiting.join(20)
    eventually(lambda: watched.api()["stentor_http_requests_in_flight",] == 1)


def test_what_a_killed_process_of_the_api_has_counted_stays_and_what_it_answered_does_not(watched: Watched) -> None:
    job = watched.post(text="Nobody speaks this either.", priority="bulk")

    def wait() -> None:
        with contextlib.suppress(httpx.TransportError):
            watched.rooms.http("GET", f"/v1/jobs/{job}?wait=20")

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: watched.api()["stentor_http_requests_in_flight",] == 2)
    before = watched.api()
    children = psutil.Process(watched.rooms.running["api"].pid).children()
    assert len(children) == 2
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
    waiting.join(20)
    eventually(lambda: _answers(watched.rooms))
    eventually(lambda: watched.api()["stentor_http_requests_in_flight",] == 1)
    after = watched.api()
    key = ("stentor_http_requests_total", "POST", "/v1/jobs", "202")
    assert after[key] == before[key] >= 1
    assert [key for key in before if key[0].endswith("_total") and after[key] < before[key]] == []


def test_metrics_are_no_part_of_the_description_and_want_no_key(watched: Watched) -> None:
    assert "/metrics" not in watched.rooms.http("GET", "/openapi.json").json()["paths"]
    assert httpx.get(f"{watched.rooms.url}/metrics", trust_env=False).status_code == 200


def test_all_that_rooms_log_are_events_and_the_machine_is_among_them(watched: Watched) -> None:
    for name in ("api", "scheduler"):
        lines = (watched.folder / f"{name}.log").read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if json.loads(line)["room"] != name] == []
    (event,) = eventually(lambda: watched.rooms.events("system", "scheduler"))[:1]
    assert event["memory_total_bytes"] > 0
    assert event["gpus"] == []
