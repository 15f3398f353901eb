"""Free TCP ports on loopback."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from stentor.local.errors import PortTaken

#: SeaweedFS uses its HTTP port plus this number for gRPC.
GRPC_OFFSET = 10_000
#: Also with the offset added, these are below 32768, where Linux starts the ports of outgoing connections. So a
#: restarted server finds its port free.
LOWEST, HIGHEST = 10_240, 22_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server can listen on this port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Distinct free ports whose gRPC ports ``port + GRPC_OFFSET`` are also free."""
    found: list[int] = []
    for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if len(found) == count:
            return found
        if is_free(port) and is_free(port + GRPC_OFFSET):
            found.append(port)
    raise PortTaken(f"Not enough free ports between {LOWEST} and {HIGHEST}: {count} are needed, {len(found)} are free.")


def usable_port(port: int, host: str) -> int:
    """The port itself, or a free one for 0.

    Raises:
        PortTaken: the port is in use or not allowed.
    """
    if port == 0:
        return free_ports(1)[0]
    if not is_free(port, host):
        raise PortTaken(f"Cannot listen on port {port} of {host}. Choose another port, or use --port 0 for a free one.")
    return port


def stable_ports(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Ports by name: those of the last start if all are free (so that presigned URLs stay valid), or else new ones."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        ports = {name: int(kept[name]) for name in names}
        if all(is_free(port) and is_free(port + GRPC_OFFSET) for port in ports.values()):
            return ports
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    path.write_text(json.dumps(ports) + "\n", encoding="utf-8")
    return ports
