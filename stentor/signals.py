"""Signals at the end of a process."""

from __future__ import annotations

import signal


def ignore_stop_signals() -> None:
    """Ignore SIGTERM and SIGINT during shutdown. Call it from the main thread when the work is done.

    Python removes its handlers before it has ended. A second signal at that moment would kill the process, and its exit
    code would look like a crash.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
