"""One stack of `compose/` in containers of its own, with stand-ins for the images of others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from stentor.embedded.ports import chosen_port
from tests.access_list import COMPOSE, make_secrets
from tests.containers import engine
from tests.containers.engine import podman

ROOMS: Final = ("api", "worker-cpu", "io-1", "io-2", "scheduler")
SERVICES: Final = ("redis", "s3", "nginx", *ROOMS)
STANDINS: Final = "localhost/stentor/standins:test"
FILES: Final = ("compose.yaml", "compose.cpu.yaml", "test.yaml")
#: Starting ten containers, each a copy of its whole image with the vfs storage, on a busy machine.
UP_S: Final = 900

#: Receives webhooks where the io workers can reach it, and prints them.
_RECEIVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
HTTPServer(("0.0.0.0", 9000), Handler).serve_forever()
"""
_OVERRIDE = {"services": {"receiver": {
    "image": engine.BASE,
    "user": "1001:1001",
    "networks": ["egress"],
    "command": ["python3", "-u", "-c", _RECEIVER.replace("$", "$$")],
}}}  # fmt: skip
_ASK_REDIS = """
import sys, redis
client = redis.Redis.from_url(open("/run/secrets/redis_url_" + sys.argv[1]).read().strip())
try:
    print(client.execute_command(*sys.argv[2:]))
except redis.RedisError as exc:
    print(type(exc).__name__)
"""


class ComposeStack:
    """A running stack, and ways to look at it from outside and inside."""

    def __init__(self, folder: Path) -> None:
        self.project = f"stentor-test-{os.getpid()}"
        self.port = chosen_port(0, "127.0.0.1")
        self._folder = folder / "compose"
        shutil.copytree(COMPOSE, self._folder, ignore=shutil.ignore_patterns("node_modules", "secrets", ".env", "tls"))
        make_secrets(self._folder / "secrets")
        url = f"http://127.0.0.1:{self.port}"
        told = {
            "STENTOR_TAG": engine.TAG,
            "STENTOR_BIND": "127.0.0.1",
            "STENTOR_HTTP_PORT": str(self.port),
            "STENTOR_PUBLIC_URL": url,
            "STENTOR_S3_PUBLIC_ENDPOINT": url,
        }
        (self._folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in told.items()), "utf-8")
        # The networks of containers are private ones.
        (self._folder / "settings.env").write_text("STENTOR_WEBHOOK_ALLOW=10.0.0.0/8\n", "utf-8")
        (self._folder / "test.yaml").write_text(json.dumps(_OVERRIDE), "utf-8")
        self.url, self.hook = url, "http://receiver:9000/hook"
        self.key = ""

    def compose(self, *arguments: str, profile: str = "s3") -> str:
        command = [
            str(Path(sys.executable).with_name("podman-compose")), "--in-pod=false", f"--project-name={self.project}",
            *(f"--file={name}" for name in FILES), f"--profile={profile}", *arguments,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=self._folder, env=engine.environ(), capture_output=True, text=True, check=False, timeout=UP_S
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout

    def start(self) -> None:
        self.compose("up", "--detach")
        shown = self.compose("run", "--rm", "admin", "keys", "create", "--owner=acme", "--name=tests", profile="tools")
        self.key = re.findall(r"stk_\S+", shown)[0]

    def stop(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5")

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def inspect(self, service: str) -> Any:
        return json.loads(podman("inspect", self.container(service)))[0]

    def run_in(self, service: str, *command: str) -> str:
        return podman("exec", self.container(service), *command)

    def status(self, service: str) -> dict[str, str]:
        """`/proc/1/status` of a container."""
        lines = self.run_in(service, "cat", "/proc/1/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def kill(self, service: str) -> None:
        """Kill a container's first process, and with it all others; nobody has asked for it, as far as podman knows."""
        os.kill(self.inspect(service)["State"]["Pid"], signal.SIGKILL)

    def unhealthy(self) -> set[str]:
        """Services whose health check fails now."""
        return {name for name in SERVICES if not self._healthy(name)}

    def _healthy(self, service: str) -> bool:
        asked = ["podman", "healthcheck", "run", self.container(service)]
        return subprocess.run(asked, env=engine.environ(), capture_output=True, check=False, timeout=60).returncode == 0

    def http(self, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=90, trust_env=False, **rest)

    def submit(self, *texts: str) -> list[str]:
        """Ids of jobs, sent until they are taken: the API itself may just be coming back."""
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http("POST", "/v1/jobs", json=[{"text": text} for text in texts])
                if answer.is_success:
                    return [job["id"] for job in answer.json()["jobs"]]

    def settled(self, job_id: str) -> str | None:
        """The state of a job that has its outcome."""
        with contextlib.suppress(httpx.TransportError):
            answer = self.http("GET", f"/v1/jobs/{job_id}")
            if answer.is_success and (state := answer.json()["state"]) in ("succeeded", "failed", "canceled"):
                return str(state)
        return None

    def ended(self, bulk_id: str) -> dict[str, Any] | None:
        bulk: dict[str, Any] = self.http("GET", f"/v1/bulks/{bulk_id}").json()
        return bulk if bulk["state"] in ("succeeded", "failed", "canceled") else None

    def webhooks(self) -> list[dict[str, Any]]:
        """What the receiver was told."""
        lines = podman("logs", self.container("receiver")).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def secret_words(self) -> set[str]:
        """Passwords and keys, as they stand in the secret files."""
        files = [path for path in (self._folder / "secrets").iterdir() if path.name not in ("users.acl", "flower_auth")]
        return {word for path in files for word in re.findall(r"[\w-]{43}", path.read_text("utf-8"))} | {self.key}

    def redis_answer(self, service: str, user: str, *command: str) -> str:
        """What Redis answers to a room that sends this with its own password; the name of the error if it refuses."""
        return self.run_in(service, "python", "-c", _ASK_REDIS, user, *command).strip()


@contextlib.contextmanager
def compose_stack(folder: Path) -> Iterator[ComposeStack]:
    """A stack that has come up, and is taken away at the end with all that it kept."""
    standins()
    stack = ComposeStack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def standins() -> None:
    """Give one image the names of all that compose.yaml has from others."""
    files = [f"--volume={path}:{path}:ro" for path in engine.HANDED_IN if Path(path).exists()]
    here = Path(__file__).parent / "standins"
    build = ["buildah", "bud", "--network=host", *files, "--layers", "--tag", STANDINS, str(here)]
    subprocess.run(build, env=engine.environ(), check=True, timeout=engine.BUILD_S, stdout=subprocess.DEVNULL)
    for name in re.findall(r"image: (docker\.io/\S+)", (COMPOSE / "compose.yaml").read_text("utf-8")):
        podman("tag", STANDINS, name)
