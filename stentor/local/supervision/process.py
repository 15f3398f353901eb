"""One process of the stack: how it starts, how it shows that it is ready, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: Number of last log lines that are shown when a process fails.
TAIL_LINES = 15
#: Variables that every child gets if they are set. A name that ends in an underscore is a prefix.
PASSED = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What to start, and when it is ready."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    cwd: Path
    #: Whether the process with this pid is ready; called repeatedly, must return within about a second.
    ready: Callable[[int], bool]
    #: How long it may take to end after SIGTERM before it is killed, in seconds.
    grace_s: float = 10.0
    #: Cleans up after the process has ended, however it ended.
    after: Callable[[], None] = lambda: None


def child_environ(environ: Mapping[str, str], *more: str) -> dict[str, str]:
    """The variables of ``environ`` that a child needs, and those of the names or prefixes (``CUDA_``) in ``more``."""
    names = (*PASSED, *more)
    return {
        variable: value
        for variable, value in environ.items()
        if any(variable == name or (name.endswith("_") and variable.startswith(name)) for name in names)
    }


class SupervisedProcess:
    """A running process in its own session, with its output in its log."""

    def __init__(self, spec: Spec, *, inherit: tuple[int, ...] = ()) -> None:
        self.spec = spec
        self.started_at_s = time.monotonic()
        with spec.log.open("ab") as log:
            # Its own session: Ctrl-C in the terminal must reach only the supervisor, which stops its children in order.
            self._popen = subprocess.Popen(
                list(spec.argv),
                env=dict(spec.environ),
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherit,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group and session."""
        return self._popen.pid

    def is_ready(self) -> bool:
        """Whether it is ready now."""
        return self.spec.ready(self.pid)

    def exit_reason(self) -> str | None:
        """How it ended, for a person; None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, not to its group. Nothing happens after it has ended."""
        self._popen.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it ended within the time."""
        try:
            self._popen.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        return True

    def clean_up(self) -> None:
        """Kill what is left of its group (a prefork child may outlive its parent), and clean up."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self.spec.after()


def tail(log: Path) -> str:
    """The last lines of a log; empty without a log."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
    return ""
