"""A room that is told to stop under load ends in order within its grace, and whoever submits loses nothing by it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from stentor.cli.commands.rooms import API_GRACE_S
from stentor.client.types import JobJson
from stentor.devices.registry import DeviceRegistry, DeviceState
from stentor.local import rooms as embedded
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from tests.conftest import Measured
from tests.support.servers.receivers import LOOPBACK, Receiver, receiver
from tests.support.speech.tones import ENVIRON as TONES
from tests.support.speech.tones import assert_whole
from tests.support.stacks.rooms import ROOMS, Rooms, rooms_apart
from tests.support.stacks.stack import eventually
from worker.device.process import STOP_S

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
#: Each room: its services in the files of compose/, its pod, its row in the table of docs/howto/upgrade.md.
DEVICE, IO, SCHEDULER, API = "device worker", "io worker", "scheduler", "API"
SERVICES = {
    DEVICE: {"compose.yaml": "worker-gpu-0", "compose.host.yaml": "worker-gpu-0", "compose.cpu.yaml": "worker-cpu"},
    IO: {"compose.yaml": "io-1"},
    SCHEDULER: {"compose.yaml": "scheduler", "compose.host.yaml": "scheduler"},
    API: {"compose.yaml": "api"},
}
PODS = {DEVICE: "base/worker", IO: "base/io", SCHEDULER: "base/scheduler", API: "base/api"}
#: What a room of tests is.
KINDS = {"api": API, "device": DEVICE, "second": DEVICE, "io": IO, "scheduler": SCHEDULER}

ENVIRON = {
    **TONES,
    "STENTOR_HOST": "first",
    "STENTOR_WEBHOOK_ALLOW": LOOPBACK,
    # A machine that is busy with other things is no reason to claim a text twice.
    "STENTOR_LEASE_S": "30",
    "STENTOR_RING_AFTER_S": "2",
}
#: Clients that submit at the same time, and the pause of each between two texts, in seconds.
CLIENTS, PAUSE_S = 2, 0.1
#: Rows of the bulk that runs meanwhile.
ROWS = 300
#: Every text has a number of its own, in all tests, so that nothing is answered with audio that is there already.
NUMBERS = itertools.count(1)


# --- the graces are one figure wherever they are told


class _Loader(yaml.SafeLoader):
    """Reads compose files, which have tags of their own."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def grace_s(room: str) -> float:
    """What ``compose.yaml`` gives a room between SIGTERM and SIGKILL."""
    return _compose_graces(room)["compose.yaml"]


def _compose_graces(room: str) -> dict[str, float]:
    found = {}
    for file, service in SERVICES[room].items():
        told = yaml.load((ROOT / "compose" / file).read_text(encoding="utf-8"), _Loader)
        found[file] = float(told["services"][service]["stop_grace_period"].removesuffix("s"))
    return found


def _pod_grace_s(room: str) -> float:
    """What Kubernetes leaves of the grace when the hook before the signal is over."""
    text = (ROOT / "compose" / "kubernetes" / f"{PODS[room]}.yaml").read_text(encoding="utf-8")
    spec = next(yaml.safe_load_all(text))["spec"]["template"]["spec"]
    hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    return float(spec["terminationGracePeriodSeconds"]) - float(hook[1])


def _told_graces() -> dict[str, float]:
    page = (ROOT / "docs" / "howto" / "upgrade.md").read_text(encoding="utf-8")
    return {name: float(seconds) for name, seconds in re.findall(r"(?m)^\| ([\w ]+) \|.*\| (\d+) s \|$", page)}


def test_the_graces_are_those_that_the_docs_tell_of_and_long_enough() -> None:
    graces = {room: grace_s(room) for room in SERVICES}
    assert {room: set(_compose_graces(room).values()) for room in SERVICES} == {
        room: {seconds} for room, seconds in graces.items()
    }
    assert _told_graces() == graces
    assert {room: _pod_grace_s(room) >= graces[room] for room in PODS} == dict.fromkeys(PODS, True)
    assert graces[API] == embedded.API_GRACE_S
    # With time to end in.
    assert graces[API] >= API_GRACE_S + 3
    assert graces[IO] >= Settings().webhook_timeout_s + 5
    assert graces[DEVICE] >= STOP_S + 15
    assert Settings().webhook_timeout_s + 5 <= embedded.WORKER_GRACE_S


# --- load


@dataclasses.dataclass(kw_only=True)
class Load:
    """Clients that submit texts one by one, each again with the same key until it is accepted, and what came of it."""

    rooms: Rooms
    webhook_url: str
    #: Job ids by the text's number.
    ids: dict[int, str] = dataclasses.field(default_factory=dict)
    statuses: Counter[int] = dataclasses.field(default_factory=Counter)
    #: When a request got no answer, and why.
    unanswered: list[tuple[float, str]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        self.failure: Exception | None = None

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.rooms.key}"}
        try:
            with httpx.Client(base_url=self.rooms.url, headers=headers, timeout=30, trust_env=False) as http:
                while not self._stop.wait(PAUSE_S):
                    self._submit(http, next(NUMBERS))
        except Exception as exc:  # noqa: BLE001 - told by whoever looks
            self.failure = exc

    def _submit(self, http: httpx.Client, number: int) -> None:
        job = {"text": f"Notice {number}: we close at eight.", "webhook_url": self.webhook_url}
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                answer = http.post("/v1/jobs", json=job, headers={"Idempotency-Key": f"load-{number}"})
            except httpx.TransportError as exc:
                self.unanswered.append((time.monotonic(), type(exc).__name__))
                time.sleep(0.1)
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code == 202:
                self.ids[number] = answer.json()["id"]
                return
            time.sleep(0.2)
        raise TimeoutError(f"text {number} was not accepted in 30 s: {self.statuses}")

    def accepted(self, more: int) -> None:
        """Wait until so many more texts were accepted."""
        wanted = len(self.ids) + more
        eventually(lambda: len(self.ids) >= wanted or self.failure, 60)
        assert self.failure is None

    def wait_until_spoken(self, more: int) -> None:
        before = len(settlements(self.rooms))
        eventually(lambda: len(settlements(self.rooms)) >= before + more, 60)


def settlements(rooms: Rooms) -> list[str]:
    """The ids of all settled jobs as often as they were settled, as the settling script tells."""
    with contextlib.closing(connect(rooms.settings)) as client:
        events: list[tuple[str, dict[str, str]]] = client.xrange(keys.EVENTS)  # type: ignore[assignment]
    return [event["id"] for _, event in events]


def heard(there: Receiver, kind: str) -> Counter[str]:
    """The ids that events of that kind told of, as often as they came."""
    with there.lock:
        events: list[dict[str, Any]] = [json.loads(one.body) for one in there.received]
    return Counter(event["data"]["id"] for event in events if event["type"] == kind)


@contextlib.contextmanager
def under_load(rooms: Rooms, measured: Measured) -> Iterator[Load]:
    """Texts that come all the time; in the end each was settled once, whole, at its first attempt, and told of once."""
    with receiver() as there:
        with Load(rooms=rooms, webhook_url=there.url) as load:
            yield load
        assert load.failure is None
        ids = list(load.ids.values())
        assert len(set(ids)) == len(ids)
        eventually(lambda: set(heard(there, "job.succeeded")) >= set(ids), 60)
        jobs = jobs_of(rooms, ids)
        assert Counter((job["state"], job["attempts"]) for job in jobs) == {("succeeded", 1): len(ids)}
        settled = Counter(settlements(rooms))
        assert {job_id: settled[job_id] for job_id in ids} == dict.fromkeys(ids, 1)
        assert heard(there, "job.succeeded") == Counter(ids)
        assert_whole(rooms, jobs[:: max(1, len(jobs) // 50)])
        measured(f"{len(ids)} texts, {dict(load.statuses)}, unanswered {Counter(why for _, why in load.unanswered)}")


def jobs_of(rooms: Rooms, ids: list[str]) -> list[JobJson]:
    with rooms.client() as client:
        return [client.job(job_id) for job_id in ids]


# --- stopping


def stopped(rooms: Rooms, name: str, measured: Measured, *more: signal.Signals) -> float:
    """How long a room took to end after SIGTERM and more signals; it ends with 0, and with no error in its log."""
    process = rooms.running.pop(name)
    errors = len(rooms.errors(name))
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    for number in more:
        time.sleep(0.002)
        process.send_signal(number)
    grace = grace_s(KINDS[name])
    code = process.wait(grace)
    took_s = time.monotonic() - began
    measured(f"{name} ended {took_s:.2f} s after SIGTERM; its grace is {grace:g} s")
    assert code == 0
    assert rooms.errors(name)[errors:] == []
    return took_s


@pytest.fixture(scope="module")
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """All rooms and a second device; every test leaves them running."""
    with rooms_apart(tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs"), **ENVIRON) as made:
        for name in ROOMS:
            made.start(name)
        made.start("second", like="device", STENTOR_HOST="second")
        eventually(lambda: made.ready() and are_there(made), 60)
        yield made


def are_there(rooms: Rooms) -> bool:
    with contextlib.closing(connect(rooms.settings)) as client:
        statuses = DeviceRegistry(client, lease_s=rooms.settings.lease_s).list()
    return {status.id: status.state in {DeviceState.IDLE, DeviceState.BUSY} for status in statuses} == {
        "first/cpu": True,
        "second/cpu": True,
    }


def start_again(rooms: Rooms, name: str) -> None:
    rooms.start(
        name, like="device" if name == "second" else None, STENTOR_HOST="second" if name == "second" else "first"
    )


def test_all_rooms_in_turn(rooms: Rooms, measured: Measured) -> None:
    """In the order of an upgrade, beside a bulk. While the device ends and starts, the second one goes on."""
    with receiver() as there, under_load(rooms, measured) as load:
        bulk_id = bulk(rooms, there.url)
        for name in ("device", "io", "scheduler"):
            load.accepted(10)
            stopped(rooms, name, measured)
            if KINDS[name] == DEVICE:
                load.wait_until_spoken(20)
            start_again(rooms, name)
            eventually(lambda: are_there(rooms), 60)
        assert load.unanswered == []
        began = time.monotonic()
        with nobody_speaks(rooms), who_waits(rooms) as answered:
            assert stopped(rooms, "api", measured) < API_GRACE_S
        start_again(rooms, "api")
        eventually(rooms.ready, 60)
        back = time.monotonic()
        load.accepted(20)
        eventually(lambda: rooms.http("GET", f"/v1/bulks/{bulk_id}").json()["state"] == "succeeded", 90)
        eventually(lambda: heard(there, "bulk.completed"), 30)
        assert heard(there, "bulk.completed") == {bulk_id: 1}
    answer = answered.result()
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert set(load.statuses) == {202}
    assert [at for at, _ in load.unanswered if not began <= at <= back] == []
    lines = rooms.http("GET", f"/v1/bulks/{bulk_id}/manifest.jsonl").text.splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["row"] for line in told] == list(range(1, ROWS + 1))
    assert Counter((line["state"], line["attempts"]) for line in told) == {("succeeded", 1): ROWS}


@contextlib.contextmanager
def who_waits(rooms: Rooms) -> Iterator[Future[httpx.Response]]:
    """A request that waits for a text which nobody speaks now; the answer is there in the end."""
    with ThreadPoolExecutor(1) as pool:
        (job_id,) = rooms.submit(f"Notice {next(NUMBERS)} is waited for.")
        waiting = pool.submit(rooms.http, "GET", f"/v1/jobs/{job_id}?wait=30")
        time.sleep(0.5)
        assert not waiting.done()
        yield waiting


def bulk(rooms: Rooms, webhook_url: str) -> str:
    body = "id,text\n" + "".join(f"n{row},Row {row} of the bulk goes on.\n" for row in range(1, ROWS + 1))
    files, form = {"file": ("rows.csv", body, "text/csv")}, {"webhook_url": webhook_url}
    answer = rooms.http("POST", "/v1/bulks", files=files, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@contextlib.contextmanager
def nobody_speaks(rooms: Rooms) -> Iterator[None]:
    """The devices' processes stand still for a moment."""
    processes = [child for name in ("device", "second") for child in psutil.Process(rooms.running[name].pid).children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@pytest.mark.slow
def test_more_signals_while_a_room_ends_break_nothing(rooms: Rooms, measured: Measured) -> None:
    more = [*[signal.SIGTERM] * 20, signal.SIGINT]
    with under_load(rooms, measured) as load:
        for name in ("device", "io", "scheduler", "api"):
            stopped(rooms, name, measured, *more)
            start_again(rooms, name)
            load.accepted(10)
    assert set(load.statuses) == {202}
    eventually(rooms.ready, 60)
