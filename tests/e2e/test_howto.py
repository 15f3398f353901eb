"""The commands of the how-to pages, run as they stand there, page by page, against a running service."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stacks.stack import Stack

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto"
PAGES = sorted(HOWTO.glob("*.md"))
#: Pages whose commands take longer than half a minute.
SLOW = ("load-test",)


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_page_has_commands() -> None:
    """Those that need a container engine or a cluster are ``console``; nobody runs them here."""
    silent = [page.name for page in PAGES if not blocks(page)]
    assert silent == ["images.md", "kubernetes.md"]
    assert [page for page in silent if "```console\n" not in (HOWTO / page).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in SLOW else (), id=page.stem) for page in PAGES],
)
def test_the_commands_of_a_page_do_what_they_say(up: Stack, page: Path, tmp_path: Path) -> None:
    environ = {
        **up.environ,
        "PATH": f"{Path(sys.executable).parent}:{up.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
        "URL": up.run.api_url,
        "KEY": up.run.api_key,
    }
    # What a page starts in the background ends with its shell.
    script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(blocks(page))
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
