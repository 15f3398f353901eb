"""The command line against a running stack, which it finds by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stentor.cli import exit_codes
from tests.support.stacks.stack import Stack


def test_say_writes_a_file_in_the_format_of_its_ending(up: Stack, tmp_path: Path) -> None:
    said = up.cli("say", "Hello from Stentor.", "-o", str(tmp_path / "hello.flac"), "--speed", "1.2")
    assert "hello.flac" in said.stdout
    with soundfile.SoundFile(tmp_path / "hello.flac") as file:
        assert file.format == "FLAC"
        assert 0.5 < file.frames / file.samplerate < 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hello.flac"]


def test_submit_speaks_a_file_a_line_a_job_and_names_the_lines_that_failed(up: Stack, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\ufeffTill four is open.\r\n\r\n🎉🎊\r\nThe café closes at ten.\r\n", encoding="utf-8")
    done = up.cli("submit", str(lines), "--output", str(tmp_path / "out"), "--json", check=False)
    assert done.returncode == exit_codes.FAILED
    result = json.loads(done.stdout)
    assert (result["texts"], result["succeeded"]) == (3, 2)
    (failure,) = result["failures"]
    assert (failure["line"], failure["code"]) == (3, "text_unspeakable")
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name[0] for path in written] == ["1", "4"]
    for path in written:
        samples, _ = soundfile.read(path)
        assert 0.05 < np.abs(samples).max() < 1


def test_job_voices_and_devices_can_be_read_by_programs(up: Stack, tmp_path: Path) -> None:
    said = json.loads(up.cli("say", "Thank you.", "-o", str(tmp_path / "a.wav"), "--json").stdout)
    job = json.loads(up.cli("job", said["id"], "--json").stdout)
    assert (job["id"], job["state"], job["device"][-4:]) == (said["id"], "succeeded", "/cpu")
    (voice,) = json.loads(up.cli("voices", "--json").stdout)["voices"]
    assert (voice["name"], voice["engine"], voice["default"]) == ("joe", "piper", True)
    (device,) = json.loads(up.cli("devices", "--json").stdout)["devices"]
    assert device["state"] in {"idle", "busy"}
    assert device["model"] == "joe"
    assert isinstance(device["pid"], int)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("job", "job_nobody"), exit_codes.NOT_FOUND),
        (("say", "Hello", "-o", "x.wav", "--voice", "nobody"), exit_codes.USAGE),
        (("say", "   ", "-o", "x.wav"), exit_codes.USAGE),
        (("say", "Hello", "-o", "x.wav", "--speed", "99"), exit_codes.USAGE),
        (("sing", "Hello"), exit_codes.USAGE),
    ],
)
def test_a_failure_has_its_exit_code_and_one_line(up: Stack, arguments: tuple[str, ...], code: int) -> None:
    done = up.cli(*arguments, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "rror: " in done.stderr


def test_doctor_finds_nothing_wrong_with_a_running_stack(up: Stack) -> None:
    done = up.cli("doctor", check=False)
    assert done.returncode == 0, done.stdout
