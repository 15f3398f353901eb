"""Under load every panel of the dashboards shows something: real rooms, simulated GPU, real Prometheus."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stentor.local.servers.ports import usable_port
from tests.nvml.stub import stub_gpus
from tests.support.servers.prometheus import DASHBOARDS, Asked, Prometheus, alerts, asked, program, prometheus
from tests.support.servers.receivers import LOOPBACK, receiver
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

#: How long rooms may take to start, and panels to show something, on a machine that does much else.
LONGEST_START_S, SHOWN_S = 240.0, 150.0
pytestmark = pytest.mark.timeout(600)

#: A row that fails by itself, as no text of the simulated GPU does.
BULK = "text\nThe doors open at nine.\n🙂\n"


@pytest.fixture(scope="module")
def watched(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that watches rooms at work."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("watched")
    port = usable_port(0, "127.0.0.1")
    with stub_gpus(folder) as gpus, receiver() as there:
        environ = {
            **gpus.environ,
            "STENTOR_SIMULATED": "l4",
            "STENTOR_DEFAULT_VOICE": "simulated-l4",
            "STENTOR_METRICS_BIND": f"127.0.0.1:{port}",
            "STENTOR_WEBHOOK_ALLOW": LOOPBACK,
        }
        with rooms_apart(folder / "near", folder, **environ) as rooms:
            for name in ("api", "gpu", "io", "scheduler"):
                rooms.start(name)
            eventually(rooms.ready, LONGEST_START_S)
            eventually(lambda: rooms.http("GET", "/v1/voices").json()["voices"], LONGEST_START_S)
            targets = {"stentor-scheduler": f"127.0.0.1:{port}", "stentor-api": rooms.url.removeprefix("http://")}
            with prometheus(folder, targets) as running, traffic(rooms, there.url):
                yield running


@contextlib.contextmanager
def traffic(rooms: Rooms, hook: str) -> Iterator[None]:
    """Within, texts of all priorities, webhooks and files with a bad row come all the time."""
    over, answers = threading.Event(), list[httpx.Response]()

    def send() -> None:
        number = 0
        # More than the device speaks at once, so that something waits at some tick.
        many = [{"text": f"Notice {at} of a backlog: we close at eight.", "priority": "bulk"} for at in range(1000)]
        answers.append(rooms.http("POST", "/v1/jobs", json={"jobs": many}))
        while not over.is_set():
            number += 1
            for priority in ("interactive", "standard", "bulk"):
                texts = [f"Notice {number} {priority} {at}: we close at eight." for at in range(20)]
                jobs = [{"text": text, "priority": priority} for text in texts]
                answers.append(rooms.http("POST", "/v1/jobs", json={"jobs": [*jobs, {**jobs[0], "webhook_url": hook}]}))
            if number % 3 == 1:
                file = {"file": ("notices.csv", f"{BULK}Notice {number}.\n".encode(), "text/csv")}
                answers.append(rooms.http("POST", "/v1/bulks", files=file, data={"on_error": "skip"}))
            over.wait(0.5)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join()
        assert {(one.status_code, one.text) for one in answers if one.status_code >= 300} == set()


def test_every_panel_shows_something(watched: Prometheus) -> None:
    left = [one for path in DASHBOARDS for one in asked(path)]
    assert len(left) > 50

    def empty() -> list[Asked]:
        left[:] = [one for one in left if not _numbers(watched, one)]
        return left

    with contextlib.suppress(AssertionError):
        eventually(lambda: not empty(), SHOWN_S)
    assert left == []


def _numbers(watched: Prometheus, one: Asked) -> bool:
    """Whether there is a number among what a panel shows of the last minutes."""
    return any(value != "NaN" for series in watched.range(one.expr) for _, value in series["values"])


def test_every_alert_can_be_asked_and_none_of_them_is_about_a_scrape(watched: Prometheus) -> None:
    for rule in alerts():
        watched.result(rule["expr"])
    rules = [rule for group in watched.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(alerts())
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["state"] != "inactive"}
    assert firing & {"StentorTargetDown", "StentorSchedulerAbsent", "StentorNoLeader", "StentorRedisAway"} == set()


def test_the_targets_of_compose_are_the_rooms_ports() -> None:
    text = (Path(__file__).parents[2] / "compose" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert "scheduler:9464" in text
    assert "api:8080" in text
