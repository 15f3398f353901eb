"""Ends the stack's processes after the supervisor was killed.

A separate program that uses only the standard library. It reads lines ``+PID`` and ``-PID`` (process groups that the
supervisor has started or that have ended) until the pipe breaks, because the supervisor died. Unlike PR_SET_PDEATHSIG
it reaches grandchildren (Celery's prefork children), needs no code between fork and exec, does not depend on the thread
that started a process, and works without prctl.
"""

import contextlib
import os
import signal
import sys
import time

#: How long orphans may take to stop by themselves before they are killed, in seconds.
GRACE_S = 5.0


def _signal_all(groups: set[int], number: int) -> None:
    for group in tuple(groups):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            groups.discard(group)
        except PermissionError:  # macOS raises it for a group of zombies
            groups.discard(group)


def main() -> None:
    """Read standard input until it ends, then end the process groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    _signal_all(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while groups and time.monotonic() < deadline:
        time.sleep(0.05)
        _signal_all(groups, 0)
    _signal_all(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
