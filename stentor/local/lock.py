"""The lock of a data directory: it allows one stack at a time, including the processes of a killed one."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from stentor.local.errors import DataDirLocked
from stentor.local.supervision import leftovers

#: The watchdog ends orphans within this time, in seconds; then the lock is free.
ORPHANS_TIMEOUT_S = 8.0


def take(path: Path) -> int:
    """Lock the file and return its descriptor. Processes that inherit it hold the lock too, until the last one ends.

    Raises:
        DataDirLocked: another process holds it; the message names it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    write_holders(descriptor, [os.getpid()])
    return descriptor


def write_holders(descriptor: int, pids: list[int]) -> None:
    """Write into the lock file which processes hold it: the supervisor first, then its children."""
    line = " ".join(map(str, pids)) + "\n"
    os.pwrite(descriptor, line.encode(), 0)
    os.ftruncate(descriptor, len(line))


def _take(descriptor: int, path: Path) -> None:
    if _try(descriptor):
        return
    pids = [int(word) for word in os.pread(descriptor, 4096, 0).split()]
    if pids and leftovers.is_alive(pids[0]):
        raise DataDirLocked(
            f"{path.parent} is in use by `stentor up` with pid {pids[0]}. "
            "Stop it, or use another directory with --data-dir."
        )
    # The supervisor was killed. Its watchdog is ending the processes now; if the watchdog also died, we end them.
    if _try_for(descriptor, ORPHANS_TIMEOUT_S):
        return
    leftovers.kill(pids[1:], holding=path)
    if not _try_for(descriptor, 2.0):
        raise DataDirLocked(
            f"{path.parent} is still in use by processes of a killed `stentor up`. Kill these processes: {pids[1:]}."
        )


def _try_for(descriptor: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not _try(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
