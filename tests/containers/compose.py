"""One stack of `compose/` in containers of its own, with stand-ins for the images of others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import trustme
import yaml

from stentor.local.servers.ports import usable_port
from tests.containers import engine
from tests.containers.engine import podman
from tests.support.servers.access_list import COMPOSE, make_secrets
from tests.support.stacks.stack import eventually

ROOMS: Final = ("api", "worker-cpu", "io-1", "io-2", "scheduler")
SERVICES: Final = ("redis", "s3", "nginx", *ROOMS)
STANDINS: Final = "localhost/stentor/standins:test"
FILES: Final = (
    "compose.yaml",
    "compose.cpu.yaml",
    "compose.tls.yaml",
    "compose.cluster.yaml",
    "compose.watch.yaml",
    "test.yaml",
)
#: By which other hosts reach nginx: its name in the network that it shares with them here.
MAIN: Final = "nginx"
#: Starting ten containers on a busy machine, with a storage that may copy a whole image for each.
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
        self.port = usable_port(0, "127.0.0.1")
        self._folder = folder / "compose"
        shutil.copytree(COMPOSE, self._folder, ignore=shutil.ignore_patterns("node_modules", "secrets", ".env", "tls"))
        make_secrets(self._folder / "secrets")
        url, https_port = f"http://127.0.0.1:{self.port}", usable_port(0, "127.0.0.1")
        told = {
            "STENTOR_TAG": engine.TAG,
            "STENTOR_BIND": "127.0.0.1",
            "STENTOR_HTTP_PORT": str(self.port),
            "STENTOR_TLS_BIND": "127.0.0.1",
            "STENTOR_HTTPS_PORT": str(https_port),
            "STENTOR_CLUSTER_BIND": "127.0.0.1",
            "STENTOR_PUBLIC_URL": url,
            "STENTOR_S3_PUBLIC_ENDPOINT": url,
        }
        (self._folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in told.items()), "utf-8")
        # The networks of containers are private ones.
        (self._folder / "settings.env").write_text("STENTOR_WEBHOOK_ALLOW=10.0.0.0/8\n", "utf-8")
        (self._folder / "test.yaml").write_text(json.dumps(_OVERRIDE), "utf-8")
        self.url, self.hook = url, "http://receiver:9000/hook"
        self.https_url, self.trusts = f"https://127.0.0.1:{https_port}", ssl.create_default_context()
        self._certificates()
        self.key = ""

    def _certificates(self) -> None:
        """The files that compose.tls.yaml and compose.cluster.yaml want."""
        self.run_script("sh", "make_cluster_tls.sh", MAIN)
        authority = trustme.CA()
        authority.configure_trust(self.trusts)
        made, tls = authority.issue_cert("127.0.0.1"), self._folder / "tls"
        made.private_key_pem.write_to_path(tls / "privkey.pem")
        for part in made.cert_chain_pems:
            part.write_to_path(tls / "fullchain.pem", append=True)
        for name in ("privkey.pem", "fullchain.pem"):
            os.chown(tls / name, 1001, 1001)
        # Debian's nginx 1.22 says it in this way; `http2 on` is of 1.25.
        conf = self._folder / "nginx" / "tls.conf"
        text = conf.read_text("utf-8")
        assert "listen 8443 ssl;\nhttp2 on;" in text
        conf.write_text(text.replace("listen 8443 ssl;\nhttp2 on;", "listen 8443 ssl http2;"), "utf-8")

    def run_script(self, *command: str) -> None:
        """Run one of the scripts that are beside compose.yaml."""
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True, timeout=60)

    def joining(self) -> Path:
        """The folder with what another host is given to join this one."""
        self.run_script(sys.executable, "make_secrets.py", "join", MAIN)
        return self._folder / "join"

    def compose(self, *arguments: str, profile: str = "s3") -> str:
        return podman_compose(self._folder, self.project, FILES, f"--profile={profile}", *arguments)

    def config(self, *more: str) -> Any:
        """What all files together say, and more of them, with everything that is behind a profile."""
        profiles = [f"--profile={name}" for name in ("s3", "monitoring", "flower", "tools", "gpu", "two-gpus")]
        return yaml.safe_load(podman_compose(self._folder, self.project, (*FILES, *more), *profiles, "config"))

    def start(self) -> None:
        """Start it all and wait, as the page on deploying says, until it is healthy: then the voice can speak."""
        self.compose("up", "--detach")
        # Of the profile with Grafana, for which there is no stand-in.
        self.compose("up", "--detach", "--no-deps", "prometheus", profile="monitoring")
        self.compose("up", "--detach", "--no-deps", "flower", profile="flower")
        shown = self.compose("run", "--rm", "admin", "keys", "create", "--owner=acme", "--name=tests", profile="tools")
        self.key = re.findall(r"stk_\S+", shown)[0]
        eventually(lambda: self.unhealthy() == set(), 300)

    def stop(self) -> None:
        for profile in ("monitoring", "flower", "s3"):
            self.compose("down", "--volumes", "--timeout", "5", profile=profile)

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
        how: dict[str, Any] = {"headers": {"Authorization": f"Bearer {self.key}"}, "timeout": 90, "trust_env": False}
        return httpx.request(method, self.url + path, **{**how, **rest})

    def https(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """The same at the TLS port, of one whom this certificate convinces."""
        with httpx.Client(base_url=self.https_url, verify=self.trusts, trust_env=False, timeout=90) as client:
            return client.request(method, path, headers={"Authorization": f"Bearer {self.key}"}, **rest)

    def submit(self, *texts: str, timeout_s: float = 60) -> list[str]:
        """Ids of jobs, sent until they are taken: the API itself may just be coming back."""
        body = {"jobs": [{"text": text} for text in texts]}

        def taken() -> list[str] | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http("POST", "/v1/jobs", json=body)
                assert answer.is_success or answer.status_code >= 500, answer.text
                if answer.is_success:
                    return [job["id"] for job in answer.json()["jobs"]]
            return None

        return eventually(taken, timeout_s) or []

    def up_again(self, service: str, before: int) -> bool:
        """Whether a container runs with another first process."""
        state = self.inspect(service)["State"]
        return bool(state["Running"]) and state["Pid"] not in (0, before)

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

    def logged(self, service: str) -> str:
        """What a container has written."""
        done = subprocess.run(
            ["podman", "logs", self.container(service)],
            env=engine.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def webhooks(self) -> list[dict[str, Any]]:
        """What the receiver was told."""
        return [json.loads(line) for line in self.logged("receiver").splitlines() if line.startswith("{")]

    def secret_words(self) -> set[str]:
        """Passwords and keys, as they stand in the secret files."""
        files = [path for path in (self._folder / "secrets").iterdir() if path.name not in ("users.acl", "flower_auth")]
        return {word for path in files for word in re.findall(r"[\w-]{43}", path.read_text("utf-8"))} | {self.key}

    def flower_login(self) -> tuple[str, str]:
        name, _, password = (self._folder / "secrets" / "flower_auth").read_text("utf-8").strip().partition(":")
        return name, password

    def redis_answer(self, service: str, user: str, *command: str) -> str:
        """What Redis answers to a room that sends this with its own password; the name of the error if it refuses."""
        return self.run_in(service, "python", "-c", _ASK_REDIS, user, *command).strip()


def podman_compose(folder: Path, project: str, files: Sequence[str], *arguments: str) -> str:
    """What podman-compose prints in a folder with these files."""
    command = [
        str(Path(sys.executable).with_name("podman-compose")), "--in-pod=false", f"--project-name={project}",
        *(f"--file={name}" for name in files), *arguments,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=engine.environ(), capture_output=True, text=True, check=False, timeout=UP_S
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


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
