"""A Valkey with the configuration, the users and the secret files that `compose/` ships."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import redis

from stentor.local.servers.ports import usable_port
from stentor.local.servers.programs import find_valkey
from tests.support.stacks.stack import eventually

COMPOSE = Path(__file__).parents[3] / "compose"


def make_secrets(folder: Path, *arguments: str) -> None:
    """Run the script that makes secret files."""
    script = [sys.executable, str(COMPOSE / "make_secrets.py"), f"--folder={folder}", *arguments]
    subprocess.run(script, check=True, timeout=30)


class Server:
    """A running Valkey; ``secrets`` has a file with the URL of each user, as containers get them."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        make_secrets(self.secrets)
        self.port = usable_port(0, "127.0.0.1")
        here = f"--port {self.port} --bind 127.0.0.1 --dir {folder} --aclfile {self.secrets / 'users.acl'}"
        self._command = [str(find_valkey()), str(COMPOSE / "redis" / "redis.conf"), *here.split()]
        self._process = self._started()
        self.move_here()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def kill_and_start(self) -> None:
        """Kill it with SIGKILL, and let another one take over what it left on disk."""
        self._process.kill()
        self._process.wait(30)
        self._process = self._started()
        eventually(self.answers)

    def move_here(self) -> None:
        """Let the URLs name this server, and not the container."""
        for path in self.secrets.glob("redis_url_*"):
            path.chmod(0o600)
            path.write_text(path.read_text("utf-8").replace("@redis:6379", f"@127.0.0.1:{self.port}"), "utf-8")

    def url_file(self, user: str) -> str:
        return str(self.secrets / f"redis_url_{user}")

    def password(self, user: str) -> str:
        """The password that is in this user's file now."""
        if user == "health":
            return (self.secrets / "redis_health_password").read_text("utf-8").strip()
        return urlsplit(Path(self.url_file(user)).read_text("utf-8").strip()).password or ""

    def client(self, user: str) -> redis.Redis:
        return redis.Redis(port=self.port, username=user, password=self.password(user), decode_responses=True)

    def answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError):
            return bool(self.client("admin").ping())
        return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@contextlib.contextmanager
def shipped_valkey(folder: Path) -> Iterator[Server]:
    """A server that answers, and is stopped at the end."""
    server = Server(folder)
    try:
        eventually(server.answers)
        yield server
    finally:
        server.stop()
