"""A whole ``stentor up`` for tests, the demo and the benches: started as a user starts it, stopped by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from stentor.client import Client
from stentor.client.types import JobJson
from stentor.local import runfile
from stentor.local.runfile import RunFile

T = TypeVar("T")

#: How long a stack may take to come up or to stop on a busy machine, in seconds. What it should take has its own test.
START_S, STOP_S = 90.0, 60.0


def eventually(look: Callable[[], T], timeout_s: float = 30.0) -> T:
    """What ``look`` answers as soon as that is true."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it did not come about in {timeout_s:g} s"
        time.sleep(0.05)
    return seen


class Stack:
    """One running ``stentor up``."""

    def __init__(self, data_dir: Path, environ: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.environ = _environ(data_dir, environ)
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stentor.cli", "up", "--port=0", f"--data-dir={data_dir}"],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        #: Seconds from the command to the ``run.json`` that says that everything has answered.
        # Not the command's own figure: a user waits from the moment of typing it.
        self.ready_after_s = time.monotonic() - started

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while runfile.read(self.data_dir) is None:
            if self._process.poll() is not None:
                raise RuntimeError(f"`stentor up` ended with {self._process.returncode}:\n{self._output()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"`stentor up` is not ready after {START_S:g} s")
            time.sleep(0.02)

    @property
    def run(self) -> RunFile:
        """What ``run.json`` says now."""
        found = eventually(lambda: runfile.read(self.data_dir))
        assert found is not None
        return found

    def client(self, key: str | None = None, **options: float) -> Client:
        """A client with the stack's own key, or another."""
        return Client(self.run.api_url, self.run.api_key if key is None else key, **options)

    def http(self, method: str, path: str, **rest: object) -> httpx.Response:
        """One bare request with the stack's key, for what the client would not send or would try again."""
        run = self.run
        headers = {"Authorization": f"Bearer {run.api_key}"}
        return httpx.request(method, f"{run.api_url}{path}", headers=headers, timeout=60, trust_env=False, **rest)  # type: ignore[arg-type]

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``stentor`` with these arguments, which finds this stack by itself."""
        done = subprocess.run(
            [sys.executable, "-m", "stentor.cli", *arguments],
            env=self.environ, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def speak(self, jobs: Sequence[Mapping[str, object]], *, timeout_s: float = 120.0) -> list[JobJson]:
        """These jobs, submitted together, when they have their outcome."""
        with self.client() as client:
            return [client.settled_job(job["id"], timeout_s=timeout_s) for job in client.submit_jobs(jobs)]

    def log(self, name: str) -> str:
        """What the process of that name has logged."""
        return (Path(self.run.log_dir) / f"{name.replace(':', '-')}.log").read_text(encoding="utf-8")

    def events(self, name: str, action: str) -> list[dict[str, Any]]:
        """What the process of that name has logged as ``action``. Libraries may have printed other lines."""
        lines = (line for line in self.log(name).splitlines() if line.startswith("{"))
        return [event for event in map(json.loads, lines) if event["action"] == action]

    def healed(self, name: str, old_pid: int) -> int:
        """The pid of the process that took the place of another, as soon as the stack is ready with it."""
        return eventually(lambda: pid if (pid := self.run.processes.get(name)) != old_pid else None, START_S) or 0

    def stop(self) -> str:
        """Stop as Ctrl-C does; what the command has printed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._output()

    def _output(self) -> str:
        try:
            return self._process.communicate(timeout=STOP_S)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, None while it runs."""
        return self._process.poll()


def _environ(data_dir: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without its own settings of Stentor, and with those of ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")}
    return {**kept, "STENTOR_DATA_DIR": str(data_dir), **extra}


@contextlib.contextmanager
def stack(data_dir: Path, **environ: str) -> Iterator[Stack]:
    """A stack that is stopped at the end, and then ends with 0."""
    running = Stack(data_dir, environ)
    try:
        yield running
    finally:
        running.stop()
    assert running.exit_code == 0
