"""The commands of the page on keys and limits, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "keys-and-limits.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_commands_do_what_the_page_says(up: Stack, tmp_path: Path) -> None:
    run = up.run
    environ = {
        **up.environ,
        "PATH": f"{Path(sys.executable).parent}:{up.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
        "URL": run.api_url,
        "KEY": run.api_key,
    }
    script = "set -eux\n" + "".join(BLOCKS)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(BLOCKS) == 9
    listed = [line for line in done.stdout.splitlines() if "\tshop\t" in line]
    assert any("web shop" in line for line in listed)
    # The job of the last command that makes one is not there twice.
    assert up.cli("keys", "usage", "--owner", "shop", "--since", "2d").stdout.count("web shop") >= 1
