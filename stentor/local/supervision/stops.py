"""Stop requests by signal: the handlers only count, and the supervisor checks the count."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """A context in which SIGINT, SIGTERM and SIGHUP are stop requests. Main thread only."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._count_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

    def is_requested(self) -> bool:
        """Whether a stop was requested."""
        return self._count > 0

    def is_urgent(self) -> bool:
        """Whether a stop was requested twice: do not wait for an orderly end."""
        return self._count > 1
