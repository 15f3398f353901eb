"""The supervisor's end of the pipe to its watchdog."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from stentor.local.supervision import watchdog


class WatchdogPipe:
    """Starts the watchdog and keeps it informed. ``inherit`` are descriptors that it gets."""

    def __init__(self, inherit: tuple[int, ...]) -> None:
        self._inherit = inherit
        self._watchdog: subprocess.Popen[bytes] | None = None

    def check(self, pids: Collection[int]) -> None:
        """If the watchdog has died, start another one that knows these processes."""
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self.close()
            for pid in pids:
                self.add(pid)

    def add(self, pid: int) -> None:
        """Let the watchdog end this process group when the supervisor dies."""
        self._write(f"+{pid}")

    def remove(self, pid: int) -> None:
        """Let the watchdog forget this process group, because it has ended."""
        self._write(f"-{pid}")

    def _write(self, line: str) -> None:
        if self._watchdog is None:
            # -I -S: without the environment and site-packages it starts in 15 ms and takes 9 MB.
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
        with contextlib.suppress(BrokenPipeError):  # it was killed; the next check starts another
            self._watchdog.stdin.write(f"{line}\n".encode())
            self._watchdog.stdin.flush()

    def close(self) -> None:
        """Close the pipe, which ends the watchdog."""
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None
