"""Ends the processes that a killed supervisor left behind, and no others."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs. Without /proc, a zombie counts as running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    return True


def kill(pids: Iterable[int], *, holding: Path) -> None:
    """Kill those of the processes, with their groups, that have the file ``holding`` open.

    A pid may belong to another program by now, so only a process with our lock open is killed.
    """
    for pid in pids:
        if _holds(pid, holding):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _holds(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                seen = link.stat()
                if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False
