"""The guard of a forward pass: whatever it does, hang or take all memory, it ends, and its jobs are known."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

import psutil

from stentor import log
from stentor.settings import Settings
from worker.batching.rows import BatchRow
from worker.engines.contract import EngineInfo
from worker.process.blackbox import BlackBox

_log = log.get(__name__)

#: How often the resident size is looked at, in seconds. A pass that fills 1 GB a second is seen 0.1 GB later.
LOOK_EVERY_S = 0.1
#: A pass that takes the process this far beyond its cap is ended; a little beyond it, the process is replaced after it.
ENDS_AT = 1.2


def resident_bytes() -> int:
    """Memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def end_now() -> None:
    """End this process as the kernel would; Celery starts another."""
    os.kill(os.getpid(), signal.SIGKILL)


class Guard:
    """Watches the forward passes of this process."""

    def __init__(
        self,
        settings: Settings,
        box: BlackBox,
        *,
        memory_limit_bytes: int | None,
        resident: Callable[[], int] = resident_bytes,
        end: Callable[[], None] = end_now,
    ) -> None:
        self._deadline_s = settings.batch_deadline_s
        self._box = box
        self._limit = memory_limit_bytes
        self._resident = resident
        self._end = end
        self._spoke = False
        self._passing = False
        self._thread = threading.Thread(target=self._watch_memory, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to look at memory, if there is a cap."""
        if self._limit is not None:
            self._thread.start()

    @property
    def full(self) -> bool:
        """Whether this process holds more than its cap, and should be replaced between two batches.

        Only after it has spoken: one that is too large from the start would be replaced for ever.
        """
        return self._limit is not None and self._spoke and self._resident() > self._limit

    @contextlib.contextmanager
    def during(self, rows: Sequence[BatchRow], info: EngineInfo) -> Iterator[None]:
        """A forward pass over these rows. One that takes longer than its audio would last, and the deadline on top, is
        ended with the whole process, even inside of C code that holds the GIL; the next one logs where it stood.
        """
        deadline_s = self._deadline_s + sum(row.utterance.cost for row in rows) / info.cost_per_s
        self._box.begin(frozenset(row.claimed.job.id for row in rows))
        self._passing = True
        faulthandler.dump_traceback_later(deadline_s, exit=True, file=self._box.stack_fd)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._passing = False
            self._box.end()
            self._spoke = True

    def _watch_memory(self) -> None:
        """End the process in a pass that takes too much. Not while a model is loaded, which is refused afterwards."""
        assert self._limit is not None
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            seen = self._resident()
            if self._passing and seen > ENDS_AT * self._limit:
                _log.error("out_of_memory", resident_bytes=seen, limit_bytes=self._limit)
                self._box.out_of_memory()
                self._end()
                return
