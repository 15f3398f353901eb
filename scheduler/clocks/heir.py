"""The heir: a small process that gives clocks back when the scheduler is killed and cannot.

It hears on its standard input, a line a tick, which GPUs are low. When that ends, or nothing comes for a while, it
resets those. ``python -m scheduler.clocks.heir`` is the process itself; it imports nothing large, for it waits all day.
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

#: A scheduler that has said nothing for so long hangs, in seconds; it speaks once a tick, and waits 3 s for Redis.
PATIENCE_S: Final = 10.0
#: How often and at what distance a reset that failed is tried again.
TRIES, TRY_AGAIN_S = 5, 1.0


class Heir:
    """The scheduler's end of the pipe. The process is started when clocks are to go low for the first time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def tell(self, low: Collection[str]) -> None:
        """Say which GPUs are low. If it has died meanwhile, another takes its place."""
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
        # In a session of its own: what ends the scheduler's group must not end both. Without our settings: it needs no
        # secret.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scheduler.clocks.heir"],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")},
        )
        assert self._process.stdin is not None
        # One that hangs must not hold up the scheduler when the pipe is full.
        os.set_blocking(self._process.stdin.fileno(), False)

    def close(self) -> None:
        """Let it go; it resets what it was last told to be low."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TRIES * TRY_AGAIN_S + 1)
        self._process = None


def main() -> None:
    """Wait for the end of the pipe."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its scheduler, which knows better
    low: list[str] = []
    text = b""
    while True:
        ready, _, _ = select.select([0], [], [], PATIENCE_S)
        if not ready:
            low = _give_back(low, "the scheduler has said nothing")
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, text = (text + chunk).split(b"\n")
        if lines:
            low = json.loads(lines[-1])
    if _give_back(low, "the scheduler has ended"):
        raise SystemExit(1)


def _give_back(low: Iterable[str], reason: str) -> list[str]:
    """Reset these; those that could not be reset."""
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
                    _say("clocks_given_back", gpu=gpu, reason=reason)
                except GpuError as exc:
                    left.append(gpu)
                    _say("clocks_not_given_back", gpu=gpu, reason=str(exc))
    except GpuError as exc:
        _say("clocks_not_given_back", gpus=low, reason=str(exc))
        return low
    return left


def _say(action: str, **fields: object) -> None:
    """A line as ``stentor.log`` writes them, without what it imports."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    level = "warning" if action == "clocks_given_back" else "error"
    told = {
        **fields,
        "level": level,
        "logger": "scheduler.clocks.heir",
        "timestamp": at,
        "action": action,
        "room": "scheduler",
    }
    with contextlib.suppress(OSError):
        sys.stderr.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
