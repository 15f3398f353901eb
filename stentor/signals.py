"""The last moment of a process."""

from __future__ import annotations

import signal


def ignore_stop_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on; for a process whose work is over, from its main thread.

    Python takes its own handlers away before it has ended, and who asks once more to stop just then would kill it: it
    would look as if it had not ended in order.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
