"""Asks to stop, by signal: the handlers only count, the supervisor looks."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP are requests to stop. Main thread only."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

    def asked(self) -> bool:
        """Whether somebody wants the end."""
        return self._count > 0

    def insisted(self) -> bool:
        """Whether somebody asked twice, and does not want to wait for an orderly end."""
        return self._count > 1
