"""The guard of a forward pass: a pass that hangs or takes too much memory is ended, and its jobs are known."""

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

#: How often the resident size is measured, in seconds. A pass that fills 1 GB a second is noticed 0.1 GB later.
LOOK_EVERY_S = 0.1
#: A pass that takes this multiple of the memory limit is ended. Below it, the process is replaced after the pass.
ENDS_AT = 1.2


def resident_bytes() -> int:
    """Memory that this process holds, in bytes."""
    return int(psutil.Process().memory_info().rss)


def end_now() -> None:
    """End this process as the kernel would; Celery starts another one."""
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
        """Begin to measure memory, if there is a limit."""
        if self._limit is not None:
            self._thread.start()

    @property
    def full(self) -> bool:
        """Whether this process holds more than its memory limit and should be replaced before the next batch.

        Only after it has spoken: a process that is too large from the start would be replaced for ever.
        """
        return self._limit is not None and self._spoke and self._resident() > self._limit

    @contextlib.contextmanager
    def during(self, rows: Sequence[BatchRow], info: EngineInfo) -> Iterator[None]:
        """Guard a forward pass over these rows.

        If it takes longer than its audio would last plus the deadline, the whole process ends, even inside C code that
        holds the GIL; the next process logs the stacks.
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
        """End the process in a pass that takes too much; a model that is too large is refused after its load."""
        assert self._limit is not None
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            seen = self._resident()
            if self._passing and seen > ENDS_AT * self._limit:
                _log.error("out_of_memory", resident_bytes=seen, limit_bytes=self._limit)
                self._box.note_out_of_memory()
                self._end()
                return
