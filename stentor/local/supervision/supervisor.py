"""Starts processes in order, waits until each answers, starts again what dies, and stops all in reverse order.

One thread does all of it by looking at its processes every few milliseconds: no locks, and no signal handler does more
than set a flag.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from stentor.local.errors import ProcessFailed
from stentor.local.supervision import restarts, watchdog
from stentor.local.supervision.process import Process, Spec, tail

#: Pause between two looks at the processes. A probe costs about 1 ms.
LOOK_EVERY_S = 0.05
#: A model on a slow disk takes its time; a process that has not answered after this is taken for stuck.
START_TIMEOUT_S = 120.0

EventKind = Literal["starting", "ready", "died", "stopping", "stopped"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person who watches the stack wants to read."""

    kind: EventKind
    name: str
    pid: int
    detail: str = ""
    took_s: float = 0.0


class Interrupted(Exception):
    """The stop was asked for while processes were still starting."""


@dataclasses.dataclass
class _Ward:
    """A process in the supervisor's care."""

    spec: Spec
    group: int
    process: Process | None = None
    fast_deaths: int = 0
    was_ready: bool = False
    restart_at_s: float = 0.0
    ready: bool = False


class Supervisor:
    """Keeps a set of processes running. Every method is called from the thread that made it."""

    def __init__(
        self,
        report: Callable[[Event], None] = lambda _: None,
        *,
        stop_asked: Callable[[], bool] = lambda: False,
        inherit: tuple[int, ...] = (),
        changed: Callable[[list[int]], None] = lambda _: None,
    ) -> None:
        """``inherit`` are descriptors that every process gets; ``changed`` hears the pids after each start."""
        self._report = report
        self._stop_asked = stop_asked
        self._inherit = inherit
        self._changed = changed
        self._wards: dict[str, _Ward] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of what runs now."""
        return {name: ward.process.pid for name, ward in self._wards.items() if ward.process}

    def launch(self, specs: Sequence[Spec]) -> None:
        """Start these processes side by side, without waiting for them. Those of one call are stopped side by side."""
        group = 1 + max((ward.group for ward in self._wards.values()), default=0)
        for spec in specs:
            self._wards[spec.name] = ward = _Ward(spec=spec, group=group)
            self._start(ward)

    def wait_ready(self, names: Sequence[str] | None = None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when each of these processes (all, if None) has answered.

        Raises:
            ProcessFailed: one keeps dying, or has not answered in time.
            Interrupted: the stop was asked for.
        """
        deadline = time.monotonic() + timeout_s
        wanted = [self._wards[name] for name in (names or self._wards)]
        while True:
            self.look()
            late = [ward for ward in wanted if not ward.ready]
            if not late:
                return
            if self._stop_asked():
                raise Interrupted
            if time.monotonic() > deadline:
                raise _failed(late[0], f"{late[0].spec.name} has not answered within {timeout_s:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def watch(self, healed: Callable[[], object]) -> None:
        """Keep everything running until the stop is asked for; ``healed`` is called when something runs again.

        Raises:
            ProcessFailed: a process keeps dying.
        """
        while not self._stop_asked():
            if self.look():
                healed()
            time.sleep(LOOK_EVERY_S)

    def look(self) -> bool:
        """See to every process once: whether any became ready."""
        self._guard()
        became_ready = [self._see_to(ward) for ward in self._wards.values()]
        return any(became_ready)

    def _see_to(self, ward: _Ward) -> bool:
        if ward.process is None:
            if time.monotonic() >= ward.restart_at_s:
                self._start(ward)
            return False
        if (how := ward.process.died()) is not None:
            self._mourn(ward, ward.process, how)
            return False
        if ward.ready or not ward.process.is_ready():
            return False
        ward.ready = ward.was_ready = True
        took_s = time.monotonic() - ward.process.started_at_s
        self._report(Event(kind="ready", name=ward.spec.name, pid=ward.process.pid, took_s=took_s))
        return True

    def _start(self, ward: _Ward) -> None:
        try:
            ward.process = process = Process(ward.spec, inherit=self._inherit)
        except OSError as exc:
            raise ProcessFailed(f"{ward.spec.name} cannot be started: {exc}") from exc
        ward.ready = False
        self._tell_watchdog(f"+{process.pid}")
        self._changed(list(self.pids.values()))
        self._report(Event(kind="starting", name=ward.spec.name, pid=process.pid))

    def _mourn(self, ward: _Ward, process: Process, how: str) -> None:
        now_s = time.monotonic()
        self._bury(ward, process)
        record = restarts.Record(
            started_at_s=process.started_at_s, fast_deaths=ward.fast_deaths, was_ready=ward.was_ready
        )
        decision = restarts.after_death(record, now_s=now_s)
        ward.fast_deaths = decision.fast_deaths
        if isinstance(decision, restarts.GiveUp):
            raise _failed(ward, f"{ward.spec.name} died {decision.fast_deaths} times in a row, last by {how}")
        ward.restart_at_s = decision.at_s
        wait_s = decision.at_s - now_s
        detail = how + (f", starting again in {wait_s:.1f} s" if wait_s else ", starting again")
        self._report(Event(kind="died", name=ward.spec.name, pid=process.pid, detail=detail))

    def _bury(self, ward: _Ward, process: Process) -> None:
        process.bury()
        self._tell_watchdog(f"-{process.pid}")
        ward.process, ward.ready = None, False

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """End everything in the reverse of the order it was launched; ``hurry`` cuts the graces short."""
        try:
            for group in sorted({ward.group for ward in self._wards.values()}, reverse=True):
                self.stop_some([name for name, ward in self._wards.items() if ward.group == group], hurry=hurry)
        finally:
            self._end_watchdog()

    def stop_some(self, names: Sequence[str], *, hurry: Callable[[], bool] = lambda: False) -> None:
        """End these side by side: SIGTERM, and SIGKILL after the grace. They stay known, for ``start_again``."""
        wards = [self._wards[name] for name in names]
        for ward in wards:
            if ward.process:
                self._report(Event(kind="stopping", name=ward.spec.name, pid=ward.process.pid))
                ward.process.send(signal.SIGTERM)
        asked_at_s = time.monotonic()
        for ward in wards:
            if ward.process:
                self._end(ward, ward.process, asked_at_s, hurry)

    def _end(self, ward: _Ward, process: Process, asked_at_s: float, hurry: Callable[[], bool]) -> None:
        how = ""
        while not process.wait(LOOK_EVERY_S):
            if hurry() or time.monotonic() - asked_at_s > ward.spec.grace_s:
                how = "killed"
                break
        self._bury(ward, process)
        took_s = time.monotonic() - asked_at_s
        self._report(Event(kind="stopped", name=ward.spec.name, pid=process.pid, detail=how, took_s=took_s))

    def start_again(self, name: str) -> None:
        """Start a process that was stopped or killed, and wait until it answers."""
        ward = self._wards[name]
        if ward.process is not None:
            self._bury(ward, ward.process)
        ward.fast_deaths = 0
        self._start(ward)
        self.wait_ready([name])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process."""
        if process := self._wards[name].process:
            process.send(number)

    def _guard(self) -> None:
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self._end_watchdog()
            for pid in self.pids.values():
                self._tell_watchdog(f"+{pid}")

    def _tell_watchdog(self, line: str) -> None:
        if self._watchdog is None:
            # -I -S: nothing of the environment, no site-packages; it starts in 15 ms and holds 9 MB.
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(watchdog.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=self._inherit,
                env={},
            )
        assert self._watchdog.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it was killed; the next look starts another
            self._watchdog.stdin.write(f"{line}\n".encode())
            self._watchdog.stdin.flush()

    def _end_watchdog(self) -> None:
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None


def _failed(ward: _Ward, what: str) -> ProcessFailed:
    lines = tail(ward.spec.log)
    return ProcessFailed(f"{what}; the end of {ward.spec.log}:\n{lines}" if lines else f"{what}; see {ward.spec.log}")
