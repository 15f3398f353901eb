"""Valkey and S3 for a stack or for tests: real servers that start in about a second and keep their data."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from stentor.local.directory import DataDir
from stentor.local.servers import programs, seaweedfs, valkey
from stentor.local.servers.ports import stable_ports
from stentor.local.supervision.process import Spec
from stentor.local.supervision.supervisor import Supervisor

BUCKET = "stentor"
VALKEY, S3 = "valkey", "s3"
#: A variable that starts with one of these means that Redis (or S3) runs elsewhere.
REDIS_VARIABLES = ("STENTOR_REDIS_URL",)
S3_VARIABLES = ("STENTOR_S3_ENDPOINT", "STENTOR_S3_ACCESS_KEY", "STENTOR_S3_SECRET_KEY")


def is_elsewhere(variables: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    """Whether the environment names a server of its own."""
    return any(variable.startswith(variables) for variable in environ)


class Neighbours:
    """The servers of one data directory: how to start and how to reach them.

    ``environ`` has the ``STENTOR_*`` variables for the rooms; secrets are in files that these variables name.
    """

    def __init__(self, data_dir: DataDir, environ: Mapping[str, str], supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        secrets = data_dir.secrets()
        self.api_key = secrets.api_key
        self.s3_access_key, self.s3_secret_key = secrets.s3_access_key, secrets.s3_secret_key
        self.s3_bucket = environ.get("STENTOR_S3_BUCKET", BUCKET)
        ports = stable_ports(data_dir.root / "ports.json", (VALKEY, *seaweedfs.SERVERS))
        valkey_port = ports.pop(VALKEY)
        self.redis_url = f"redis://:{secrets.redis_password}@127.0.0.1:{valkey_port}/0"
        self.s3_endpoint = f"http://127.0.0.1:{ports[S3]}"
        self.specs: list[Spec] = []
        self.environ: dict[str, str] = {}
        plain = dict(environ)
        if not is_elsewhere(REDIS_VARIABLES, environ):
            program = programs.find_valkey()
            password = secrets.redis_password
            self.specs.append(
                valkey.spec(data_dir, program=program, port=valkey_port, password=password, environ=plain)
            )
            self.environ |= {"STENTOR_REDIS_URL_FILE": str(data_dir.secret_file("redis_url", self.redis_url))}
        if not is_elsewhere(S3_VARIABLES, environ):
            program = programs.find_weed()
            self.specs.append(seaweedfs.spec(data_dir, program=program, ports=ports, secrets=secrets, environ=plain))
            self.environ |= {
                "STENTOR_S3_ENDPOINT": self.s3_endpoint,
                "STENTOR_S3_BUCKET": self.s3_bucket,
                "STENTOR_S3_ACCESS_KEY_FILE": str(data_dir.secret_file("s3_access_key", self.s3_access_key)),
                "STENTOR_S3_SECRET_KEY_FILE": str(data_dir.secret_file("s3_secret_key", self.s3_secret_key)),
            }

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers."""
        return self.supervisor.pids

    def start(self, name: str) -> None:
        """Start a stopped or killed server with the same port and data, and wait until it answers."""
        self.supervisor.restart(name)

    def stop(self, name: str) -> None:
        """Stop a server in order, and wait for its end."""
        self.supervisor.stop_some([name])

    def kill(self, name: str) -> None:
        """Kill a server with SIGKILL, and wait for its end."""
        self.supervisor.signal(name, signal.SIGKILL)
        self.supervisor.stop_some([name])

    def pause(self, name: str) -> None:
        """Pause a server with SIGSTOP: connections stay open, but nothing answers."""
        self.supervisor.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Continue a paused server."""
        self.supervisor.signal(name, signal.SIGCONT)


@contextlib.contextmanager
def neighbours(data_dir: Path, *, environ: Mapping[str, str] | None = None) -> Iterator[Neighbours]:
    """Run Valkey and S3 with their data in ``data_dir``; both are stopped at the end. For tests and tools.

    They are not restarted automatically. The bucket is not created. Call it from the main thread.

    Raises:
        ProgramMissing: a server is not installed.
        DataDirLocked: another stack uses the directory.
        ProcessFailed: a server does not start.
    """
    chosen = os.environ if environ is None else environ
    clean = {name: value for name, value in chosen.items() if not name.startswith("STENTOR_")}
    with DataDir.open(data_dir) as opened:
        supervisor = Supervisor(inherit=(opened.lock,), on_change=opened.remember_children)
        near = Neighbours(opened, clean, supervisor)
        try:
            supervisor.launch(near.specs)
            supervisor.wait_ready()
            yield near
        finally:
            supervisor.stop()
