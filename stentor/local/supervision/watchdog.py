"""Ends the stack's processes when the supervisor is killed and cannot do it.

A program of its own that only uses the standard library: it reads lines ``+PID`` and ``-PID`` (process groups that the
supervisor has started or buried) until the pipe breaks, which is what the death of the supervisor does to it. Unlike
PR_SET_PDEATHSIG this reaches grandchildren (Celery's prefork children), needs no code between fork and exec, does not
depend on which thread started a process, and works where there is no prctl.
"""

import contextlib
import os
import signal
import sys
import time

#: How long the orphans may take to end in order before they are killed.
GRACE_S = 5.0


def _signal_all(groups: set[int], number: int) -> None:
    for group in tuple(groups):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            groups.discard(group)
        except PermissionError:  # macOS says so for a group of zombies
            groups.discard(group)


def main() -> None:
    """Watch the standard input until it ends, then end the groups."""
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
