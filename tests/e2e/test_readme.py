"""The commands of the README, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.support.stacks.stack import Stack

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_set_up_is_two_commands_that_the_makefile_has() -> None:
    assert BLOCKS[:2] == ["make demo\n", "make test\n"]
    for block in BLOCKS[:2]:
        # -n: say what would be done. The tests cannot run themselves, nor install over themselves.
        told = subprocess.run([*block.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert ".venv/bin/" in told.stdout


def test_the_service_is_started_with_one_command() -> None:
    assert BLOCKS[2] == ". .venv/bin/activate\nstentor up\n"


@pytest.mark.usefixtures("up")
def test_the_commands_against_a_running_service_do_what_they_say(up: Stack, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    environ = {**up.environ, "PATH": f"{Path(sys.executable).parent}:{up.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    script = "set -eux\n" + "".join(BLOCKS[3:])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert soundfile.info(tmp_path / "hello.wav").duration > 1
    assert len(list((tmp_path / "notices").iterdir())) == 60
    assert '"state":"succeeded"' in done.stdout.replace(" ", "")
    assert soundfile.info(tmp_path / "lane.mp3").format == "MP3"
