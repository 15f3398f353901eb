"""The rooms as processes of their own, with Redis and S3 elsewhere: what a team with several machines runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from stentor.client import Client
from stentor.client.types import JobJson
from stentor.local.servers.ports import usable_port
from stentor.owners.access import KeyStore
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.servers.neighbours import RunningNeighbours, neighbours

#: The rooms, as the quickstart starts them.
ROOMS = {
    "api": ("api", "--bind", "127.0.0.1:{port}"),
    "device": ("worker", "--device", "cpu"),
    "io": ("worker", "--io", "--concurrency", "1"),
    "scheduler": ("scheduler",),
}
#: Those that only some tests start.
MORE_ROOMS = {"gpu": ("worker", "--device", "cuda:0")}


class Rooms:
    """Four processes, their neighbours, and a client."""

    def __init__(self, near: RunningNeighbours, folder: Path, environ: Mapping[str, str]) -> None:
        self.near = near
        self.port = usable_port(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")}
        # A neighbour that is elsewhere takes the place of the one that was started.
        own = {name: value for name, value in near.environ.items() if name.removesuffix("_FILE") not in environ}
        self._environ = {**kept, **own, **environ}
        self._folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = Settings.from_environ({**own, **environ})
        Storage(self.settings).ensure_bucket()
        with contextlib.closing(connect(self.settings)) as client:
            self.key = KeyStore(client).create(owner="acme", name="tests")

    def start(self, name: str, *, like: str | None = None, **environ: str) -> None:
        """Start a room; with ``like`` another one of that kind, on another machine if it is given another host."""
        words = [word.format(port=self.port) for word in {**ROOMS, **MORE_ROOMS}[like or name]]
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "stentor.cli", *words]
            self.running[name] = subprocess.Popen(command, env={**self._environ, **environ}, stdout=log, stderr=log)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``stentor`` with these arguments and the rooms' own environment."""
        command = [sys.executable, "-m", "stentor.cli", *arguments]
        return subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=60, check=False)

    def kill(self, name: str) -> None:
        """Kill a room's first process with SIGKILL, and not its children; returns when it is gone."""
        self.running[name].send_signal(signal.SIGKILL)
        self.running.pop(name).wait()

    def client(self) -> Client:
        return Client(self.url, self.key)

    def http(self, method: str, path: str, **rest: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=60, trust_env=False, **rest)  # type: ignore[arg-type]

    def ready(self) -> bool:
        """Whether the API answers, and has all that it needs."""
        return self._answers("/readyz")

    def listens(self) -> bool:
        """Whether the API answers."""
        return self._answers("/healthz")

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.http("GET", path).status_code == 200
        return False

    def submit(self, *texts: str) -> list[str]:
        with self.client() as client:
            return [job["id"] for job in client.submit_jobs([{"text": text} for text in texts])]

    def settled(self, ids: list[str]) -> list[JobJson]:
        with self.client() as client:
            return [client.settled_job(job_id, timeout_s=60) for job_id in ids]

    def events(self, action: str, name: str = "device") -> list[dict[str, Any]]:
        """What the room of that name, in all its lives, has logged as ``action``. Others may have printed lines."""
        return [event for event in self._events(name) if event["action"] == action]

    def errors(self, name: str = "device") -> list[str]:
        """What the room of that name, in all its lives, has logged as an error."""
        return [str(event["action"]) for event in self._events(name) if event["level"] == "error"]

    def _events(self, name: str) -> list[dict[str, Any]]:
        lines = (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return [event for event in map(_event, lines) if event]

    def foreign_lines(self) -> dict[str, list[str]]:
        """Lines of the rooms' logs that are no events, by room; there are to be none."""
        logs = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in self._folder.glob("*.log")}
        return {name: [line for line in lines if _event(line) is None] for name, lines in logs.items()}

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(30) for name, process in self.running.items()}
        assert codes == dict.fromkeys(codes, 0)


def _event(line: str) -> dict[str, Any] | None:
    """The event of one line of a log; None for a line of somebody else, or one that a kill cut off."""
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        return event if isinstance(event, dict) and "action" in event else None
    return None


@contextlib.contextmanager
def rooms_apart(data_dir: Path, log_dir: Path, **environ: str) -> Iterator[Rooms]:
    """RunningNeighbours that run and rooms that were not started yet, stopped at the end."""
    with neighbours(data_dir) as near:
        made = Rooms(near, log_dir, environ)
        try:
            yield made
        finally:
            made.stop()
