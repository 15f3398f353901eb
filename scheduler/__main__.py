"""``python -m scheduler``: the scheduler's process."""

from __future__ import annotations

import os
import signal
import threading

from scheduler.ticks import Scheduler
from stentor import log
from stentor.settings import Settings


def main() -> None:
    """Tick until SIGTERM or SIGINT."""
    settings = Settings.from_environ(os.environ)
    log.configure(settings, room="scheduler")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Scheduler(settings).run(stopping)


if __name__ == "__main__":
    main()
