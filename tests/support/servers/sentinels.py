"""A master, two replicas and three sentinels, as processes: what ``redis+sentinel://`` is tried with."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from stentor.local.servers.ports import usable_port
from stentor.local.servers.programs import find_valkey
from tests.support.stacks.stack import eventually

MASTER, PASSWORD, SENTINEL_PASSWORD = "stentor", "secret of the servers", "secret of the sentinels"
#: After so long without an answer the master is taken for dead.
DOWN_AFTER_MS = 1000

_SERVER = """\
bind 127.0.0.1
port {port}
dir "{folder}"
requirepass "{password}"
masterauth "{password}"
appendonly yes
appendfsync always
save ""
# A master that was cut off accepts nothing that nobody else will have.
min-replicas-to-write 1
min-replicas-max-lag 10
repl-diskless-sync-delay 0
"""
_SENTINEL = """\
bind 127.0.0.1
port {port}
dir "{folder}"
requirepass "{sentinel_password}"
sentinel sentinel-pass "{sentinel_password}"
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-pass {master} "{password}"
sentinel down-after-milliseconds {master} {down_after_ms}
sentinel failover-timeout {master} 6000
"""


class Trio:
    """Six processes. ``url`` is what ``STENTOR_REDIS_URL`` wants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        first, *others = (self._server(number) for number in range(3))
        self.servers = (first, *others)
        for port in others:
            self.ask(port).replicaof("127.0.0.1", first)
        eventually(lambda: self.ask(first).info("replication")["connected_slaves"] == 2)
        self.sentinels = tuple(self._sentinel(number, first) for number in range(3))
        # A sentinel that knows the others and the replicas can fail over.
        eventually(lambda: all(self._ready(port) for port in self.sentinels), 60)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        password, sentinel = (text.replace(" ", "%20") for text in (PASSWORD, SENTINEL_PASSWORD))
        return f"redis+sentinel://:{password}@{hosts}/{MASTER}/0?sentinel_password={sentinel}"

    def ask(self, port: int) -> redis.Redis:
        password = SENTINEL_PASSWORD if port in getattr(self, "sentinels", ()) else PASSWORD
        return redis.Redis(port=port, password=password, decode_responses=True, socket_timeout=2)

    def master(self) -> int:
        """The port of the server that the sentinels take for the master."""
        for port in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                state: Any = self.ask(port).sentinel_master(MASTER)
                return int(state["port"])
        raise AssertionError("no sentinel answers")

    def kill(self, port: int) -> None:
        """SIGKILL for a server or sentinel."""
        self._running[port].send_signal(signal.SIGKILL)
        self._running.pop(port).wait()

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()

    def _ready(self, port: int) -> bool:
        with contextlib.suppress(redis.RedisError):
            sentinel = redis.Redis(port=port, password=SENTINEL_PASSWORD, decode_responses=True, socket_timeout=2)
            state: Any = sentinel.sentinel_master(MASTER)
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 2)
        return False

    def _server(self, number: int) -> int:
        return self._start(f"server{number}", _SERVER, answers_to=PASSWORD)

    def _sentinel(self, number: int, master: int) -> int:
        return self._start(
            f"sentinel{number}", _SENTINEL, "--sentinel", answers_to=SENTINEL_PASSWORD, master_port=master
        )

    def _start(self, name: str, config: str, *words: str, answers_to: str, master_port: int = 0) -> int:
        port, folder = usable_port(0, "127.0.0.1"), self._folder / name
        folder.mkdir()
        file = folder / "conf"
        file.write_text(
            config.format(
                port=port,
                folder=folder,
                password=PASSWORD,
                sentinel_password=SENTINEL_PASSWORD,
                master=MASTER,
                master_port=master_port,
                down_after_ms=DOWN_AFTER_MS,
            )
        )
        with (folder / "log").open("wb") as log:
            self._running[port] = subprocess.Popen([find_valkey(), str(file), *words], stdout=log, stderr=log)

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(redis.Redis(port=port, password=answers_to, socket_timeout=1).ping())
            return False

        eventually(answers)
        return port


@contextlib.contextmanager
def sentinels(folder: Path) -> Iterator[Trio]:
    """A trio that is stopped at the end."""
    made = Trio(folder)
    try:
        yield made
    finally:
        made.stop()
