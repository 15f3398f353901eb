"""The whole of Stentor beside what else serves a Piper voice: ``piper.http_server``, and PiperVoice behind LitServe.

Run with ``python -m tests.bench.peers``. The same clients send the same texts, one at a time each, and hold a whole
WAV at the end of every request; the servers take turns. Each of the others first gets the setting that measures best of
a few. Stentor keeps what it promises meanwhile: every job on disk before it is accepted, every WAV in S3.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from tests.bench.engine import cpu_name, texts
from tests.support.stacks.stack import Stack, stack
from worker.engines.piper.family import packaged_model

#: Clients at the same time. Enough that a batch is spoken while the texts of the next one arrive.
CLIENTS = 16
TEXTS, ROUNDS = 100, 3
#: Texts that a setting is tried with.
TRIED = 32
#: How long a server may take until it answers, and a request until it is answered, in seconds.
START_S, ANSWER_S = 60.0, 120.0
#: How many times the better one's speed is wanted (issue 3).
WANTED = 1.05

_PINNED = (
    "import os, runpy, sys; os.sched_setaffinity(0, {int(sys.argv.pop(1))}); "
    "runpy.run_module('piper.http_server', run_name='__main__', alter_sys=True)"
)

#: What one client does with a text and a seed; its answer is the WAV.
Speak = Callable[[str, int], bytes]


class Server(Protocol):
    """A server under test."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    def client(self, number: int) -> Speak:
        """The client of that number, with connections of its own."""

    def pause(self) -> None:
        """Take no CPU while others are measured."""

    def resume(self) -> None:
        """Go on."""


class Connection:
    """A kept connection for JSON in and bytes out."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._http = http.client.HTTPConnection(host, port, timeout=ANSWER_S)
        self._headers = headers or {}

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The body of the answer, which must be a success."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **({} if data is None else {"Content-Type": "application/json"})}
        self._http.request(method, path, data, headers)
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.status < 300, f"{method} {path} answered {answer.status}: {content[:300]!r}"
        return content


class Stentor:
    """A whole ``stentor up``: submit, wait, and fetch the WAV from S3."""

    name = "Stentor"

    def __init__(self, running: Stack) -> None:
        self._run = running.run

    def client(self, number: int) -> Speak:
        api, s3 = urlsplit(self._run.api_url), urlsplit(self._run.s3_endpoint)
        service = Connection(api.hostname or "", api.port or 80, {"Authorization": f"Bearer {self._run.api_key}"})
        storage = Connection(s3.hostname or "", s3.port or 80)

        def speak(text: str, seed: int) -> bytes:
            job = json.loads(service.ask("POST", "/v1/jobs", {"text": text, "seed": seed}))
            while job["state"] in {"queued", "running"}:
                job = json.loads(service.ask("GET", f"/v1/jobs/{job['id']}?wait=20"))
            assert job["state"] == "succeeded", job["error"]
            url = urlsplit(job["audio_url"])
            return storage.ask("GET", f"{url.path}?{url.query}")

        return speak

    def pause(self) -> None:
        """Nothing: a device without work waits for its doorbell, blocked."""

    def resume(self) -> None:
        """Nothing."""


class Others:
    """One or several processes that answer a POST with a WAV; each client keeps to one of them."""

    def __init__(self, name: str, path: str, processes: Mapping[int, subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._path = path
        self._processes = processes

    def client(self, number: int) -> Speak:
        ports = list(self._processes)
        connection = Connection("127.0.0.1", ports[number % len(ports)])
        return lambda text, _: connection.ask("POST", self._path, {"text": text})

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self._processes.values():
            os.killpg(process.pid, number)


# --- starting them


@contextlib.contextmanager
def piper_server(folder: Path, *, processes: int, pinned: bool) -> Iterator[Server]:
    """``piper.http_server``. It has no setting for workers or threads: onnxruntime takes the cores that it may use."""
    cores = sorted(os.sched_getaffinity(0))
    arguments = ["--model", str(packaged_model()), "--host", "127.0.0.1", "--data-dir", str(folder), "--port", "{port}"]
    starts = [
        ["-c", _PINNED, str(cores[number % len(cores)])] if pinned else ["-m", "piper.http_server"]
        for number in range(processes)
    ]
    with _started(folder, [[*start, *arguments] for start in starts]) as running:
        name = f"piper.http_server, {_counted(processes, 'process')}{', a core each' * pinned}"
        yield Others(name, "/synthesize", running)


@contextlib.contextmanager
def litserve_server(folder: Path, *, workers: int, threads: int) -> Iterator[Server]:
    """PiperVoice behind LitServe: worker processes, each with so many onnxruntime threads (0: as many as cores)."""
    command = ["-m", "tests.bench.litserve_server", "{port}", str(workers), str(threads)]
    with _started(folder, [command]) as running:
        name = f"LitServe, {_counted(workers, 'worker')}, {_counted(threads, 'thread') if threads else 'own threads'}"
        yield Others(name, "/predict", running)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{('es' if noun.endswith('s') else 's') * (count > 1)}"


@contextlib.contextmanager
def _started(folder: Path, commands: Sequence[Sequence[str]]) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """Python processes by the ports that they answer on; they, and what they started, are killed at the end."""
    started: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for command in commands:
            port = _free_port()
            started[port] = _process([part.replace("{port}", str(port)) for part in command], folder, port)
        for port, process in started.items():
            _wait_for(port, process, folder)
        yield started
    finally:
        for process in started.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _process(arguments: Sequence[str], folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / f"{port}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        log = (folder / f"{port}.log").read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, log
        assert time.monotonic() < deadline, f"nothing answers on port {port} after {START_S:g} s:\n{log}"
        time.sleep(0.1)


# --- measuring


def speed(server: Server, mix: Sequence[str], seeds: Iterator[int]) -> float:
    """Seconds of audio per second, with ``CLIENTS`` clients that each ask again as soon as they have their WAV."""
    left: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for text in mix:
        left.put((text, next(seeds)))
    audio_s: list[float] = []
    failures: list[Exception] = []

    def work(number: int) -> None:
        speak = server.client(number)
        while True:
            try:
                text, seed = left.get_nowait()
            except queue.Empty:
                return
            try:
                audio_s.append(_seconds(speak(text, seed)))
            except Exception as exc:  # noqa: BLE001 - told below, whatever it is
                failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    server.resume()
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began
    server.pause()
    assert not failures, f"{server.name}: {len(failures)} texts failed, first with {failures[0]!r}"
    return sum(audio_s) / took_s


def _seconds(wav: bytes) -> float:
    with wave.open(io.BytesIO(wav)) as file:
        return float(file.getnframes() / file.getframerate())


def run() -> dict[str, Any]:
    """Audio seconds per second of each, by setting and by round, and Stentor's ratio to the better one."""
    seeds, mix, cores = itertools.count(), texts(TEXTS, seed=11), len(os.sched_getaffinity(0))
    tried: dict[str, float] = {}
    with ExitStack() as until_end:
        folder = Path(until_end.enter_context(tempfile.TemporaryDirectory(prefix="stentor-servers-")))
        pipers = [
            functools.partial(piper_server, folder, processes=processes, pinned=pinned)
            for processes, pinned in ((1, False), (cores, False), (cores, True))
        ]
        litserves = [
            functools.partial(litserve_server, folder, workers=workers, threads=threads)
            for workers, threads in ((1, 0), (cores, 1), (cores, 0), (cores + 1, 1))
        ]
        # Found before Stentor runs, so that they have the machine to themselves.
        found = [_best(starts, mix, seeds, tried) for starts in (pipers, litserves)]
        servers: list[Server] = [until_end.enter_context(start()) for start in found]
        for server in servers:
            server.pause()
        servers.append(Stentor(until_end.enter_context(stack(folder / "up"))))
        for server in servers:
            # Connections, caches and pages of memory are there before it counts.
            speed(server, mix[:CLIENTS], seeds)
        rounds = [_round(number, servers, mix, seeds) for number in range(ROUNDS)]
    # The same texts in each round: times add up, so the mean of speeds is the harmonic one.
    overall = {name: ROUNDS / sum(1 / row[name] for row in rounds) for name in rounds[0]}
    better = max(found_speed for name, found_speed in overall.items() if name != Stentor.name)
    return {
        "cpu": cpu_name(),
        "clients": CLIENTS,
        "texts": len(mix),
        "tried": tried,
        "audio_s_per_s": overall,
        "rounds": rounds,
        "ratio": overall[Stentor.name] / better,
        "wanted": WANTED,
    }


def _best(
    starts: Sequence[Callable[[], AbstractContextManager[Server]]],
    mix: Sequence[str],
    seeds: Iterator[int],
    tried: dict[str, float],
) -> Callable[[], AbstractContextManager[Server]]:
    """The one that is fastest; the speed of each is noted in ``tried``."""
    speeds = []
    for start in starts:
        with start() as server:
            speed(server, mix[:CLIENTS], seeds)
            speeds.append(speed(server, mix[:TRIED], seeds))
            tried[server.name] = speeds[-1]
            _tell(f"tried: {speeds[-1]:.2f} {server.name}")
    return starts[speeds.index(max(speeds))]


def _round(number: int, servers: Sequence[Server], mix: Sequence[str], seeds: Iterator[int]) -> dict[str, float]:
    """Each in turn; another one begins each round."""
    first = number % len(servers)
    found = {}
    for server in (*servers[first:], *servers[:first]):
        found[server.name] = speed(server, mix, seeds)
        _tell(f"round {number + 1}: {found[server.name]:.2f} {server.name}")
    return {server.name: found[server.name] for server in servers}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(f"\n{result['cpu']}, {result['texts']} texts, {result['clients']} clients; audio seconds per second")
    for name, found in result["tried"].items():
        print(f"  tried: {found:8.2f}  {name}")
    for name, overall in result["audio_s_per_s"].items():
        rounds = " ".join(f"{row[name]:8.2f}" for row in result["rounds"])
        print(f"{overall:8.2f}  ({rounds} )  {name}")
    print(f"Stentor against the better one: {result['ratio']:.3f} (wanted: {result['wanted']})")


if __name__ == "__main__":
    # As Ctrl-C does: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report(run())
