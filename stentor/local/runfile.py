"""``DIR/run.json``: how to reach the stack that runs in a data directory. It exists only while the stack is ready."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from stentor.local.directory import write_private
from stentor.local.supervision import leftovers

NAME = "run.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFile:
    """A running stack: its addresses, key and processes (name -> pid)."""

    api_url: str
    api_key: str
    redis_url: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    processes: dict[str, int]
    #: The supervisor. SIGTERM to it stops the stack in order.
    pid: int
    log_dir: str


def write(data_dir: Path, run: RunFile) -> None:
    """Write the file: the stack is ready."""
    write_private(data_dir / NAME, json.dumps(dataclasses.asdict(run), indent=2) + "\n")


def read(data_dir: Path) -> RunFile | None:
    """The stack that runs in this directory; None if none runs or the file is unreadable."""
    try:
        data = json.loads((data_dir / NAME).read_text(encoding="utf-8"))
        run = RunFile(**{field.name: data[field.name] for field in dataclasses.fields(RunFile)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return run if leftovers.is_alive(run.pid) else None


def remove(data_dir: Path) -> None:
    """Remove the file: the stack is no longer ready."""
    (data_dir / NAME).unlink(missing_ok=True)
