"""A large file through nginx: it goes to the API as it comes."""

from __future__ import annotations

import csv
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.containers.compose import ComposeStack
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

#: Much more than nginx has: 64 MB of files in memory. By hand, as much as a bulk may have: 1023.
FILE_MB = int(os.environ.get("STENTOR_TEST_UPLOAD_MB", "200"))
#: Most resident memory of an nginx process, in kB.
NGINX_KB = 64 * 1024


def large_file(path: Path) -> int:
    """Write a CSV of about ``FILE_MB``, whose rows are mostly metadata; answers how many rows it has."""
    names = [f"note_{number}" for number in range(16)]
    notes = ["x" * 500] * len(names)
    rows = FILE_MB * 1_000_000 // (len(names) * 501 + 30)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", *names])
        writer.writerows([f"n{number}", "The doors open at nine.", *notes] for number in range(rows))
    return rows


def test_a_large_file_is_neither_refused_by_nginx_nor_kept_there(up: ComposeStack, tmp_path: Path) -> None:
    rows = large_file(tmp_path / "large.csv")
    began_s = time.monotonic()
    with (tmp_path / "large.csv").open("rb") as file:
        form = {"files": {"file": ("large.csv", file, "text/csv")}, "data": {"dry_run": "true"}}
        answer = up.http("POST", "/v1/bulks", timeout=660, **form)
    print(f"{FILE_MB} MB answered {answer.status_code} after {time.monotonic() - began_s:.0f} s")
    assert answer.status_code in (200, 202), answer.text
    done: dict[str, Any] | None = eventually(lambda: up.ended(answer.json()["id"]), 600)
    print(f"checked after {time.monotonic() - began_s:.0f} s")
    assert done is not None
    assert (done["state"], done["counts"]["rows"]) == ("succeeded", rows)
    assert max(nginx_kb(up)) < NGINX_KB
    assert "buffered to a temporary file" not in up.logged("nginx")


def nginx_kb(up: ComposeStack) -> list[int]:
    """The most memory that each process of nginx has ever had."""
    shown = up.run_in("nginx", "sh", "-c", "cat /proc/[0-9]*/status")
    return [int(kb) for kb in re.findall(r"Name:\tnginx\n(?:.*\n)*?VmHWM:\s*(\d+) kB", shown)]
