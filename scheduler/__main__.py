"""``python -m scheduler``: the scheduler's process. With ``--give-back`` it only resets GPU clocks."""

from __future__ import annotations

import os
import signal
import sys
import threading

from scheduler.clocks.keeper import give_back
from scheduler.ticks import ANSWER_TIMEOUT_S, Scheduler
from stentor import log
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.signals import ignore_stop_signals


def main() -> None:
    """Tick until SIGTERM or SIGINT. With ``--give-back``, reset clocks that were left low and exit."""
    settings = Settings.from_environ(os.environ)
    log.configure(settings, room="scheduler")
    if "--give-back" in sys.argv[1:]:
        client = connect(settings, retries=0, answer_timeout_s=ANSWER_TIMEOUT_S)
        raise SystemExit(0 if give_back(client, settings) else 1)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Scheduler(settings).run(stopping)
    ignore_stop_signals()


if __name__ == "__main__":
    main()
