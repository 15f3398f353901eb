"""`stentor cost` against an API that runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from api.app import create_app
from stentor.cli.main import cli
from stentor.devices.registry import DeviceState
from stentor.owners.access import READ, KeyStore
from stentor.settings import Settings
from tests.integration.api.test_openapi import QuietHandler
from tests.support.work.metering import Metered

Run = Callable[..., Result]
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def stentor(client: redis.Redis, settings: Settings, api_key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command, as an admin calls it."""
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STENTOR_API_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("STENTOR_API_KEY", api_key)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["cost", *words])

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def billed(client: redis.Redis, settings: Settings) -> None:
    """A GPU that idled for half an hour and was unloaded for another, and a CPU beside it that idled."""
    gpu = Metered(client, settings, at=MIDNIGHT.timestamp())
    gpu.tick()
    gpu.spend(1800, watts=60, tick_s=5)
    gpu.turn(DeviceState.UNLOADED, model=None)
    gpu.spend(1800, watts=20, tick_s=5)
    gpu.meter.flush()
    cpu = Metered(client, settings, at=MIDNIGHT.timestamp(), device="testhost/cpu")
    cpu.energy_j = None
    cpu.tick()
    cpu.spend(1800, watts=0, tick_s=5)
    cpu.meter.flush()


@pytest.mark.usefixtures("billed")
def test_the_bill_is_told_as_tables(stentor: Run) -> None:
    shown = stentor("--since", "1d", "--price-kwh", "0.5", "--price-gpu-hour", "2")
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert "device hours: 1.50" in lines
    assert "energy: 0.04 kWh" in lines
    assert "money for energy: 0.02" in lines
    assert "money: 3.02" in lines
    assert "always on, one by one: 0.06 kWh" in lines
    assert "unloading\t0.02\t0.01\t0.5\t1" in lines
    assert "testhost/cuda:0\t0.00\t0.50\t0.00\t0.50\t0.00\t0.04\t0.00\t2.02\t0.02" in lines
    assert "testhost/cpu\t0.00\t0.50\t0.00\t0.00\t0.00\t?\t0.00\t?\t0" in lines
    assert "energy_j: no energy was measured on testhost/cpu" in shown.stderr


@pytest.mark.usefixtures("billed")
def test_the_bill_is_told_as_json(stentor: Run) -> None:
    shown = stentor("--json")
    found = json.loads(shown.stdout)
    assert [device["id"] for device in found["devices"]] == ["testhost/cpu", "testhost/cuda:0"]
    assert (found["until"], found["total"]["energy_j"]) == (MIDNIGHT.date().isoformat(), 1800 * 80)


@pytest.mark.usefixtures("billed")
def test_a_day_is_drawn(stentor: Run, tmp_path: Path) -> None:
    shown = stentor("--png", str(tmp_path / "day.png"), "--day", MIDNIGHT.date().isoformat())
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")


def test_of_a_day_without_a_record_nothing_is_drawn(stentor: Run, tmp_path: Path) -> None:
    shown = stentor("--png", str(tmp_path / "day.png"), "--day", "30d")
    assert shown.exit_code == 4
    assert "No data for" in shown.stderr
    assert not (tmp_path / "day.png").exists()


def test_a_day_without_a_file_is_refused(stentor: Run) -> None:
    shown = stentor("--day", "1d")
    assert shown.exit_code == 2
    assert "--day needs --png FILE" in shown.stderr


def test_a_key_that_only_looks_does_not_see_the_bill(
    stentor: Run, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STENTOR_API_KEY", KeyStore(client).create(owner="acme", name="looks", scopes=[READ]))
    shown = stentor()
    assert type(shown.exception).__name__ == "Problem"
    assert "needs the scope 'admin'" in str(shown.exception)
