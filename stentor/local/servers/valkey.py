"""The embedded Valkey: every write on disk before it is answered, loopback only, a password."""

from __future__ import annotations

import socket
from pathlib import Path

from stentor.local.directory import DataDir
from stentor.local.supervision.process import Spec, passed_on

#: Longest wait of one look at whether Valkey answers.
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
    """How the embedded Valkey (or Redis) is started; its configuration is written on the way.

    The password stands in a file that only the owner reads, not on the command line, which everybody can read.
    """
    folder = str(data_dir.root / "valkey").replace("\\", "\\\\").replace('"', '\\"')
    config = data_dir.secret_file("valkey.conf", _CONFIG.format(port=port, password=password, folder=folder))
    return Spec(
        name="valkey",
        argv=[str(program), str(config)],
        environ=passed_on(environ),
        log=data_dir.log("valkey"),
        cwd=data_dir.run,
        ready=lambda _: answers(port, password),
    )


def answers(port: int, password: str) -> bool:
    """Whether the server takes the password and has loaded its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PROBE_S) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.readline() == b"+OK\r\n" and answer.readline() == b"+PONG\r\n"
    except OSError:
        return False
