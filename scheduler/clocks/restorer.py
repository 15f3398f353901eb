"""The restorer: a small process that resets GPU clocks when the scheduler was killed or hangs.

The scheduler writes a line to its standard input each tick: the GPUs that are low. When the input ends, or no line
comes for ``SILENCE_LIMIT_S``, it resets those GPUs. ``python -m scheduler.clocks.restorer`` is the process itself. It
imports nothing large, because it runs all day.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from typing import Final

from stentor.devices.nvml import Nvml
from stentor.errors import GpuError

#: A scheduler that wrote nothing for this time hangs, in seconds. It writes once a tick, and waits up to 3 s for Redis.
SILENCE_LIMIT_S: Final = 10.0
#: How often a reset that fails is tried, and the pause between two tries in seconds.
TRIES, TRY_AGAIN_S = 5, 1.0


class ClockRestorer:
    """The scheduler's end of the pipe. The process starts when clocks are lowered for the first time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while the process runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def inform(self, low: Collection[str]) -> None:
        """Send which GPUs are low. Start the process again if it has died."""
        if self.pid is None:
            if not low:
                return
            self._start()
        line = json.dumps(sorted(low)).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # the next tick starts another
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(line)

    def _start(self) -> None:
        self.close()
        # It has its own session, so that a signal to the scheduler's group does not end both. It does not get our
        # settings, because it needs no secret.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scheduler.clocks.restorer"],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")},
        )
        assert self._process.stdin is not None
        # If the process hangs and the pipe is full, the scheduler must not block.
        os.set_blocking(self._process.stdin.fileno(), False)

    def close(self) -> None:
        """End it; it resets the GPUs that were low last."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TRIES * TRY_AGAIN_S + 1)
        self._process = None


def main() -> None:
    """Read until the pipe ends, then reset what is low."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its scheduler
    low: list[str] = []
    text = b""
    while True:
        ready, _, _ = select.select([0], [], [], SILENCE_LIMIT_S)
        if not ready:
            low = _reset_all(low, "the scheduler does not answer")
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, text = (text + chunk).split(b"\n")
        if lines:
            low = json.loads(lines[-1])
    if _reset_all(low, "the scheduler has ended"):
        raise SystemExit(1)


def _reset_all(low: Iterable[str], reason: str) -> list[str]:
    """Reset these GPUs, with retries; those that could not be reset."""
    left = list(low)
    for _ in range(TRIES):
        if not left:
            break
        left = _reset(left, reason)
        if left:
            time.sleep(TRY_AGAIN_S)
    return left


def _reset(low: list[str], reason: str) -> list[str]:
    left = []
    try:
        with contextlib.closing(Nvml.open()) as nvml:
            for gpu in low:
                try:
                    nvml.reset(gpu)
                    _log("clocks_given_back", gpu=gpu, reason=reason)
                except GpuError as exc:
                    left.append(gpu)
                    _log("clocks_not_given_back", gpu=gpu, reason=str(exc))
    except GpuError as exc:
        _log("clocks_not_given_back", gpus=low, reason=str(exc))
        return low
    return left


def _log(action: str, **fields: object) -> None:
    """Write a line in the format of ``stentor.log``, without its imports."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    level = "warning" if action == "clocks_given_back" else "error"
    event = {
        **fields,
        "level": level,
        "logger": "scheduler.clocks.restorer",
        "timestamp": at,
        "action": action,
        "room": "scheduler",
    }
    with contextlib.suppress(OSError):
        sys.stderr.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()
