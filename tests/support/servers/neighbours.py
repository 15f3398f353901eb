"""Valkey and S3 for tests and benches: the servers of `stentor up`, which a test may stop, kill and pause."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from stentor.local.directory import DataDir
from stentor.local.servers.neighbours import Neighbours
from stentor.local.supervision.supervisor import Supervisor


class RunningNeighbours(Neighbours):
    """Servers that are running, and what may happen to them."""

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers."""
        return self.supervisor.pids

    def start(self, name: str) -> None:
        """Start a stopped or killed server with the same port and data, and wait until it answers."""
        self.supervisor.restart(name)

    def stop(self, name: str) -> None:
        """Stop a server in order, and wait for its end."""
        self.supervisor.stop_some([name])

    def kill(self, name: str) -> None:
        """Kill a server with SIGKILL, and wait for its end."""
        self.supervisor.signal(name, signal.SIGKILL)
        self.supervisor.stop_some([name])

    def pause(self, name: str) -> None:
        """Pause a server with SIGSTOP: connections stay open, but nothing answers."""
        self.supervisor.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Continue a paused server."""
        self.supervisor.signal(name, signal.SIGCONT)


@contextlib.contextmanager
def neighbours(data_dir: Path, *, environ: Mapping[str, str] | None = None) -> Iterator[RunningNeighbours]:
    """Run Valkey and S3 with their data in ``data_dir``; both are stopped at the end.

    They are not restarted automatically. The bucket is not created. Call it from the main thread.

    Raises:
        ProgramMissing: a server is not installed.
        DataDirLocked: another stack uses the directory.
        ProcessFailed: a server does not start.
    """
    chosen = os.environ if environ is None else environ
    clean = {name: value for name, value in chosen.items() if not name.startswith("STENTOR_")}
    with DataDir.open(data_dir) as opened:
        supervisor = Supervisor(inherit=(opened.lock,), on_change=opened.remember_children)
        near = RunningNeighbours(opened, clean, supervisor)
        try:
            supervisor.launch(near.specs)
            supervisor.wait_ready()
            yield near
        finally:
            supervisor.stop()
