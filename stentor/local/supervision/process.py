"""One process of the stack: how it is started, how it shows that it answers, and how it is ended."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: Last lines of a log that are shown when its process fails.
TAIL_LINES = 15
#: Variables that every child gets, if they are set; by prefix for those that end in an underscore.
PASSED = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What is started, and when it counts as ready."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    cwd: Path
    #: Whether the process of this pid answers; called again and again, must return within about a second.
    ready: Callable[[int], bool]
    #: How long it may take to end after SIGTERM before it is killed.
    grace_s: float = 10.0
    #: Tidies up after the process has ended, whichever way.
    after: Callable[[], None] = lambda: None


def passed_on(environ: Mapping[str, str], *more: str) -> dict[str, str]:
    """The variables of ``environ`` that a child needs, and those of the names or prefixes (``CUDA_``) in ``more``."""
    names = (*PASSED, *more)
    return {
        variable: value
        for variable, value in environ.items()
        if any(variable == name or (name.endswith("_") and variable.startswith(name)) for name in names)
    }


class Process:
    """A running process in a session of its own, with its output in its log."""

    def __init__(self, spec: Spec, *, inherit: tuple[int, ...] = ()) -> None:
        self.spec = spec
        self.started_at_s = time.monotonic()
        with spec.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for the supervisor, which ends its children in order.
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
        """Whether it answers now."""
        return self.spec.ready(self.pid)

    def died(self) -> str | None:
        """How it ended, in words, or None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, not to its group; one that has ended is left alone."""
        self._popen.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        try:
            self._popen.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        return True

    def bury(self) -> None:
        """Kill whatever is left of its group (a prefork child outlives its parent) and tidy up."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self.spec.after()


def tail(log: Path) -> str:
    """The last lines of a log; empty if there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
    return ""
