"""A temporary ``stentor up`` for a bench, with the settings of the environment."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from stentor.errors import ApiUnavailable
from stentor.local import runfile
from stentor.local.runfile import RunFile
from stentor.local.supervision.process import tail
from stentor.settings import CLIENT_VARIABLES

#: How long the stack may take to start and to stop, in seconds. A large model loads for minutes.
START_S, STOP_S = 600.0, 60.0


@contextlib.contextmanager
def own_stack(environ: Mapping[str, str], *, devices: str) -> Iterator[RunFile]:
    """Run a stack with the settings in ``environ``; it and its data are removed at the end.

    Raises:
        ApiUnavailable: it did not become ready.
    """
    rooms = {name: value for name, value in environ.items() if name not in CLIENT_VARIABLES}
    with tempfile.TemporaryDirectory(prefix="stentor-bench-") as folder, _interrupt_on_sigterm():
        data_dir, log = Path(folder, "data"), Path(folder, "up.log")
        command = [sys.executable, "-m", "stentor.cli", "up", "--port=0", f"--data-dir={data_dir}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, f"--devices={devices}"],
                env=rooms,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach only the bench, which then stops the stack.
                start_new_session=True,
            )
        try:
            yield _wait_ready(process, data_dir, log)
        finally:
            _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> RunFile:
    deadline = time.monotonic() + START_S
    while (run := runfile.read(data_dir)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ApiUnavailable(f"The temporary `stentor up` of the bench did not become ready:\n{tail(log)}")
        time.sleep(0.1)
    return run


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the bench like Ctrl-C, so that the stack is stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
