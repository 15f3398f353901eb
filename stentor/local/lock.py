"""The lock of a data directory: one stack at a time, counting the processes that a killed one left behind."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from stentor.local.errors import DataDirLocked
from stentor.local.supervision import leftovers

#: The watchdog ends its orphans within this time, and then the lock is free.
PATIENCE_S = 8.0


def take(path: Path) -> int:
    """The descriptor of the locked file. Whoever inherits it holds the lock too, until the last one ends.

    Raises:
        DataDirLocked: somebody else holds it; the sentence says who.
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
    """Note in the lock file who holds it: the supervisor first, then what it has started."""
    line = " ".join(map(str, pids)) + "\n"
    os.pwrite(descriptor, line.encode(), 0)
    os.ftruncate(descriptor, len(line))


def _take(descriptor: int, path: Path) -> None:
    if _try(descriptor):
        return
    pids = [int(word) for word in os.pread(descriptor, 4096, 0).split()]
    if pids and leftovers.is_alive(pids[0]):
        raise DataDirLocked(
            f"{path.parent} is in use by `stentor up` with pid {pids[0]}; stop that one or name another directory "
            "with --data-dir"
        )
    # Its supervisor was killed. The watchdog is ending its processes at this moment; if that died too, we do it.
    if _try_for(descriptor, PATIENCE_S):
        return
    leftovers.kill(pids[1:], holding=path)
    if not _try_for(descriptor, 2.0):
        raise DataDirLocked(
            f"{path.parent} is still held by processes of a killed `stentor up`; the last known are {pids[1:]}"
        )


def _try_for(descriptor: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
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
