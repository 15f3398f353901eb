"""Starts processes in order, waits until each is ready, restarts those that die, and stops all in reverse order.

One thread checks the processes every few milliseconds. So there are no locks, and signal handlers only set a flag.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Sequence
from typing import Literal

from stentor.local.errors import ProcessFailed
from stentor.local.supervision import restarts
from stentor.local.supervision.process import Spec, SupervisedProcess, tail
from stentor.local.supervision.watchdog_pipe import WatchdogPipe

#: Pause between two checks of the processes, in seconds. A probe takes about 1 ms.
CHECK_EVERY_S = 0.05
#: A process that is not ready after this time is stuck, in seconds. A model on a slow disk takes long to load.
START_TIMEOUT_S = 120.0

EventKind = Literal["starting", "ready", "died", "stopping", "stopped"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisorEvent:
    """A change of a process, for the person who watches the stack."""

    kind: EventKind
    name: str
    pid: int
    detail: str = ""
    took_s: float = 0.0


class Interrupted(Exception):
    """A stop was requested while processes were still starting."""


@dataclasses.dataclass
class _Entry:
    """What the supervisor knows about one process."""

    spec: Spec
    group: int
    process: SupervisedProcess | None = None
    fast_deaths: int = 0
    was_ready: bool = False
    restart_at_s: float = 0.0
    ready: bool = False


class Supervisor:
    """Keeps a set of processes running. Call all methods from the thread that created it."""

    def __init__(
        self,
        report: Callable[[SupervisorEvent], None] = lambda _: None,
        *,
        stop_requested: Callable[[], bool] = lambda: False,
        inherit: tuple[int, ...] = (),
        on_change: Callable[[list[int]], None] = lambda _: None,
    ) -> None:
        """``inherit``: descriptors that every process gets. ``on_change``: called with the pids after each start."""
        self._report = report
        self._stop_requested = stop_requested
        self._inherit = inherit
        self._on_change = on_change
        self._entries: dict[str, _Entry] = {}
        self._watchdog = WatchdogPipe(inherit)

    @property
    def pids(self) -> dict[str, int]:
        """Ids of the running processes, by name."""
        return {name: entry.process.pid for name, entry in self._entries.items() if entry.process}

    def launch(self, specs: Sequence[Spec]) -> None:
        """Start these processes together, without waiting. Processes of one call are also stopped together."""
        group = 1 + max((entry.group for entry in self._entries.values()), default=0)
        for spec in specs:
            self._entries[spec.name] = entry = _Entry(spec=spec, group=group)
            self._start(entry)

    def wait_ready(self, names: Sequence[str] | None = None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until each of these processes (all, if None) is ready.

        Raises:
            ProcessFailed: a process keeps dying, or is not ready in time.
            Interrupted: a stop was requested.
        """
        deadline = time.monotonic() + timeout_s
        wanted = [self._entries[name] for name in (names or self._entries)]
        while True:
            self.check()
            late = [entry for entry in wanted if not entry.ready]
            if not late:
                return
            if self._stop_requested():
                raise Interrupted
            if time.monotonic() > deadline:
                raise _start_failure(late[0], f"{late[0].spec.name} was not ready within {timeout_s:.0f} s")
            time.sleep(CHECK_EVERY_S)

    def watch(self, on_ready: Callable[[], object]) -> None:
        """Keep everything running until a stop is requested. ``on_ready`` is called when a process is ready again.

        Raises:
            ProcessFailed: a process keeps dying.
        """
        while not self._stop_requested():
            if self.check():
                on_ready()
            time.sleep(CHECK_EVERY_S)

    def check(self) -> bool:
        """Check every process once, restart those that died, and return whether any became ready."""
        self._watchdog.check(self.pids.values())
        became_ready = [self._check_one(entry) for entry in self._entries.values()]
        return any(became_ready)

    def _check_one(self, entry: _Entry) -> bool:
        if entry.process is None:
            if time.monotonic() >= entry.restart_at_s:
                self._start(entry)
            return False
        if (how := entry.process.exit_reason()) is not None:
            self._record_exit(entry, entry.process, how)
            return False
        if entry.ready or not entry.process.is_ready():
            return False
        entry.ready = entry.was_ready = True
        took_s = time.monotonic() - entry.process.started_at_s
        self._report(SupervisorEvent(kind="ready", name=entry.spec.name, pid=entry.process.pid, took_s=took_s))
        return True

    def _start(self, entry: _Entry) -> None:
        try:
            entry.process = process = SupervisedProcess(entry.spec, inherit=self._inherit)
        except OSError as exc:
            raise ProcessFailed(f"Cannot start {entry.spec.name}: {exc}") from exc
        entry.ready = False
        self._watchdog.add(process.pid)
        self._on_change(list(self.pids.values()))
        self._report(SupervisorEvent(kind="starting", name=entry.spec.name, pid=process.pid))

    def _record_exit(self, entry: _Entry, process: SupervisedProcess, how: str) -> None:
        now_s = time.monotonic()
        self._forget(entry, process)
        history = restarts.RestartHistory(
            started_at_s=process.started_at_s, fast_deaths=entry.fast_deaths, was_ready=entry.was_ready
        )
        decision = restarts.after_death(history, now_s=now_s)
        entry.fast_deaths = decision.fast_deaths
        if isinstance(decision, restarts.GiveUp):
            raise _start_failure(
                entry, f"{entry.spec.name} died {decision.fast_deaths} times in a row, most recently with {how}"
            )
        entry.restart_at_s = decision.at_s
        wait_s = decision.at_s - now_s
        detail = how + (f", restarting in {wait_s:.1f} s" if wait_s else ", restarting")
        self._report(SupervisorEvent(kind="died", name=entry.spec.name, pid=process.pid, detail=detail))

    def _forget(self, entry: _Entry, process: SupervisedProcess) -> None:
        process.clean_up()
        self._watchdog.remove(process.pid)
        entry.process, entry.ready = None, False

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything in the reverse order of its start. ``hurry`` ends the grace periods early."""
        try:
            for group in sorted({entry.group for entry in self._entries.values()}, reverse=True):
                self.stop_some([name for name, entry in self._entries.items() if entry.group == group], hurry=hurry)
        finally:
            self._watchdog.close()

    def stop_some(self, names: Sequence[str], *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop these together: SIGTERM, then SIGKILL after the grace period. ``restart`` can start them again."""
        entries = [self._entries[name] for name in names]
        for entry in entries:
            if entry.process:
                self._report(SupervisorEvent(kind="stopping", name=entry.spec.name, pid=entry.process.pid))
                entry.process.send(signal.SIGTERM)
        stop_at_s = time.monotonic()
        for entry in entries:
            if entry.process:
                self._end(entry, entry.process, stop_at_s, hurry)

    def _end(self, entry: _Entry, process: SupervisedProcess, stop_at_s: float, hurry: Callable[[], bool]) -> None:
        how = ""
        while not process.wait(CHECK_EVERY_S):
            if hurry() or time.monotonic() - stop_at_s > entry.spec.grace_s:
                how = "killed"
                break
        self._forget(entry, process)
        took_s = time.monotonic() - stop_at_s
        self._report(SupervisorEvent(kind="stopped", name=entry.spec.name, pid=process.pid, detail=how, took_s=took_s))

    def restart(self, name: str) -> None:
        """Start a process again that was stopped or killed, and wait until it is ready."""
        entry = self._entries[name]
        if entry.process is not None:
            self._forget(entry, entry.process)
        entry.fast_deaths = 0
        self._start(entry)
        self.wait_ready([name])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process."""
        if process := self._entries[name].process:
            process.send(number)


def _start_failure(entry: _Entry, what: str) -> ProcessFailed:
    lines = tail(entry.spec.log)
    return ProcessFailed(
        f"{what}. The end of {entry.spec.log}:\n{lines}" if lines else f"{what}. See {entry.spec.log}."
    )
