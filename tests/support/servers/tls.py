"""A Redis that answers with TLS only, and the authority that signed its certificate."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
import trustme

from stentor.local.servers.ports import usable_port
from tests.support.stacks.stack import eventually

PASSWORD, MASTER = "kept", "stentor"

_COMMON = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file "{folder}/server.pem"
tls-key-file "{folder}/server.key"
tls-ca-cert-file "{ca}"
tls-auth-clients no
tls-replication yes
requirepass "{password}"
dir "{folder}"
"""
_CONFIG = (
    _COMMON
    + """\
appendonly yes
save ""
"""
)
_SENTINEL = """\
sentinel monitor {master} 127.0.0.1 {master_port} 1
sentinel auth-pass {master} {password}
"""


def tls_server() -> str:
    """A Redis or Valkey server with TLS, which the one in the wheel lacks; none skips on a laptop and fails in CI."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None and os.environ.get("CI") == "true":
        raise AssertionError("no redis-server is on the PATH: apt-get install redis-server")
    if found is None:
        pytest.skip("no redis-server with TLS is on the PATH")
    return found


class Authority:
    """A certificate authority, as the file that those have who trust it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._signs = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._signs.cert_pem.write_to_path(self.file)

    def write(self, folder: Path, *hosts: str) -> None:
        """A certificate for these hosts, and its key."""
        made = self._signs.issue_cert(*hosts)
        made.private_key_pem.write_to_path(folder / "server.key")
        for number, part in enumerate(made.cert_chain_pems):
            part.write_to_path(folder / "server.pem", append=number > 0)


@contextlib.contextmanager
def redis_with_tls(
    folder: Path, ca: Authority, *, hosts: Sequence[str] = ("localhost", "127.0.0.1"), sentinel_of: int | None = None
) -> Iterator[int]:
    """The port of a server whose certificate is for ``hosts``; it is stopped at the end.

    With ``sentinel_of`` it is a sentinel that watches the server at that port.
    """
    program, port = tls_server(), usable_port(0, "127.0.0.1")
    folder.mkdir()
    ca.write(folder, *hosts)
    config = folder / "conf"
    text, words = _CONFIG if sentinel_of is None else _COMMON + _SENTINEL, ["--sentinel"] if sentinel_of else []
    config.write_text(
        text.format(port=port, folder=folder, ca=ca.file, password=PASSWORD, master=MASTER, master_port=sentinel_of)
    )
    process = subprocess.Popen([program, str(config), *words], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with contextlib.suppress(redis.RedisError):
            found = redis.Redis(port=port, password=PASSWORD, ssl=True, ssl_cert_reqs="none", ssl_check_hostname=False)
            with contextlib.closing(found):
                return bool(found.ping())
        return False

    try:
        eventually(answers)
        yield port
    finally:
        process.kill()
        process.wait()
