"""The embedded Valkey: it writes to disk before it answers, listens on loopback only, and needs a password."""

from __future__ import annotations

import socket
from pathlib import Path

from stentor.local.directory import DataDir
from stentor.local.supervision.process import Spec, child_environ

#: Timeout of one readiness check, in seconds.
PROBE_S = 0.5

_CONFIG = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass "{password}"
dir "{folder}"
appendonly yes
# A 202 is sent after the job is on disk.
appendfsync always
save ""
# What waits must never be evicted.
maxmemory-policy noeviction
daemonize no
always-show-logo no
tcp-keepalive 60
"""


def spec(data_dir: DataDir, *, program: Path, port: int, password: str, environ: dict[str, str]) -> Spec:
    """The spec of the embedded Valkey (or Redis); also writes its configuration.

    The password is in a file that only the owner can read, not on the command line, which all users can read.
    """
    folder = str(data_dir.root / "valkey").replace("\\", "\\\\").replace('"', '\\"')
    config = data_dir.secret_file("valkey.conf", _CONFIG.format(port=port, password=password, folder=folder))
    return Spec(
        name="valkey",
        argv=[str(program), str(config)],
        environ=child_environ(environ),
        log=data_dir.log("valkey"),
        cwd=data_dir.run,
        ready=lambda _: answers(port, password),
    )


def answers(port: int, password: str) -> bool:
    """Whether the server accepts the password and has loaded its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PROBE_S) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.readline() == b"+OK\r\n" and answer.readline() == b"+PONG\r\n"
    except OSError:
        return False
