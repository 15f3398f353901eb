"""The embedded servers for real: who may talk to them, what survives, what heals, and what is left behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest
import redis

from stentor.errors import StorageUnavailable
from stentor.local import runfile
from stentor.local.directory import DataDir
from stentor.local.errors import DataDirLocked, DataDirUnusable, PortTaken
from stentor.local.servers.ports import usable_port
from stentor.local.supervision import leftovers
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.servers.neighbours import RunningNeighbours, neighbours

T = TypeVar("T")
#: `stentor up` with a plain HTTP server in place of the rooms, which have their own tests.
STACK = """
import sys
from pathlib import Path
from typing import TypeVar
from stentor.local import stack
from stentor.local.supervision.process import Spec

class Rooms:
    def __init__(self, settings, data_dir, environ):
        self.data_dir = data_dir
    def workers(self, devices):
        return []
    def api(self, host, port):
        return Spec(name="api", argv=[sys.executable, "-m", "http.server", "--bind", host, str(port)],
                    environ={}, log=self.data_dir.log("api"), cwd=self.data_dir.run, ready=lambda pid: True)
    def close(self):
        pass

stack.Rooms = Rooms
stack.up(stack.StackOptions(data_dir=Path(sys.argv[1]), port=0), {"PATH": "/usr/bin:/bin"},
         report=lambda event: print(event, flush=True), ready=lambda run: None)
"""


def eventually(condition: Callable[[], T], timeout_s: float = 20) -> T:
    deadline = time.monotonic() + timeout_s
    while not (seen := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return seen


def storage(near: RunningNeighbours, **changes: str) -> Storage:
    return Storage(Settings.from_environ({**near.environ, **changes}))


def listening(pid: int) -> set[str]:
    return {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN}


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNeighbours]:
    with neighbours(tmp_path_factory.mktemp("near")) as started:
        storage(started).ensure_bucket()
        yield started


@contextlib.contextmanager
def stack(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")}
    process = subprocess.Popen([sys.executable, "-c", STACK, str(folder)], env=environ, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is not None or runfile.read(folder))
        assert process.poll() is None, "it ended instead of getting ready"
        yield process
    finally:
        process.terminate()
        process.wait(30)


def test_both_listen_on_loopback_only(near: RunningNeighbours) -> None:
    assert {name: listening(pid) for name, pid in near.pids.items()} == {"valkey": {"127.0.0.1"}, "s3": {"127.0.0.1"}}


def test_redis_refuses_a_wrong_password_and_none(near: RunningNeighbours) -> None:
    port = near.redis_url.rpartition(":")[2].removesuffix("/0")
    for url in (f"redis://:wrong@127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
        with contextlib.closing(redis.Redis.from_url(url)) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_redis_writes_to_disk_before_it_answers_and_evicts_nothing(near: RunningNeighbours) -> None:
    with contextlib.closing(redis.Redis.from_url(near.redis_url, decode_responses=True)) as client:
        told = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert told == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def test_the_password_is_on_no_command_line(near: RunningNeighbours) -> None:
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in near.pids.values()]
    secrets = (near.s3_secret_key, near.redis_url.split("@")[0].rpartition(":")[2])
    assert not any(secret in line for secret in secrets for line in lines)


def test_s3_keeps_what_is_put(near: RunningNeighbours) -> None:
    store = storage(near)
    store.put("a/b", b"hello", content_type="text/plain")
    assert store.get("a/b") == b"hello"


def test_s3_refuses_requests_without_a_signature(near: RunningNeighbours) -> None:
    storage(near).put("a/secret", b"hello", content_type="text/plain")
    for method, path in (("GET", "/"), ("GET", "/stentor/a/secret"), ("PUT", "/stentor/a/c"), ("DELETE", "/stentor")):
        assert httpx.request(method, near.s3_endpoint + path, trust_env=False).status_code == 403, (method, path)


def test_s3_refuses_a_wrong_key(near: RunningNeighbours) -> None:
    wrong = {"STENTOR_S3_SECRET_KEY": "wrong", "STENTOR_S3_SECRET_KEY_FILE": ""}
    environ = {name: value for name, value in {**near.environ, **wrong}.items() if value}
    with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch"):
        Storage(Settings.from_environ(environ)).put("a/b", b"hello", content_type="text/plain")


def test_the_servers_behind_s3_give_no_object_away(near: RunningNeighbours) -> None:
    storage(near).put("a/secret", b"hello", content_type="text/plain")
    refused = 0
    for connection in psutil.Process(near.pids["s3"]).net_connections("inet"):
        url = f"http://127.0.0.1:{connection.laddr.port}/buckets/stentor/a/secret"
        with contextlib.suppress(httpx.TransportError):  # the gRPC ports speak no HTTP/1
            answer = httpx.get(url, trust_env=False, timeout=5)
            assert b"hello" not in answer.content
            refused += answer.status_code in (401, 403)
    assert refused >= 2


def test_presigned_urls_need_no_key_and_work(near: RunningNeighbours) -> None:
    store = storage(near)
    store.put("a/b", b"hello", content_type="text/plain")
    answer = httpx.get(store.url("a/b", filename="b.txt", content_type="text/plain"), trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert answer.headers["content-disposition"] == 'inline; filename="b.txt"'


def test_a_stopped_server_refuses_and_a_started_one_has_its_data(near: RunningNeighbours) -> None:
    with contextlib.closing(redis.Redis.from_url(near.redis_url, decode_responses=True)) as client:
        client.set("kept", "yes")
        near.stop("valkey")
        with pytest.raises(redis.ConnectionError):
            client.ping()
        near.start("valkey")
        assert client.get("kept") == "yes"


def test_a_killed_server_comes_back_with_its_data(near: RunningNeighbours) -> None:
    store = storage(near)
    store.put("a/kept", b"hello", content_type="text/plain")
    near.kill("s3")
    near.start("s3")
    assert eventually(lambda: store.get("a/kept")) == b"hello"


def test_data_secrets_and_ports_are_found_again_at_the_next_start(tmp_path: Path) -> None:
    with neighbours(tmp_path) as first, contextlib.closing(redis.Redis.from_url(first.redis_url)) as client:
        client.set("kept", "yes")
        storage(first).ensure_bucket()
        storage(first).put("a/b", b"hello", content_type="text/plain")
    with neighbours(tmp_path) as second, contextlib.closing(redis.Redis.from_url(second.redis_url)) as client:
        assert client.get("kept") == b"yes"
        assert storage(second).get("a/b") == b"hello"
    assert (first.environ, first.redis_url, first.api_key) == (second.environ, second.redis_url, second.api_key)


def test_nobody_else_can_read_the_secrets(near: RunningNeighbours, tmp_path: Path) -> None:
    root = Path(near.environ["STENTOR_REDIS_URL_FILE"]).parent.parent
    files = [root / "secrets.json", *(path for path in (root / "run").iterdir() if path.is_file())]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {
        path.name: "0o600" for path in files
    }
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_leaving_the_block_leaves_no_process_and_no_socket(tmp_path: Path) -> None:
    with neighbours(tmp_path) as started:
        pids = list(started.pids.values())
        port = started.s3_endpoint.rpartition(":")[2]
    assert not any(leftovers.is_alive(pid) for pid in pids)
    assert not list(Path("/tmp").glob(f"seaweedfs-*{port}.sock"))


def test_two_stacks_run_side_by_side(near: RunningNeighbours, tmp_path: Path) -> None:
    with neighbours(tmp_path) as other:
        assert other.redis_url != near.redis_url
        storage(other).ensure_bucket()


def test_a_second_stack_on_one_directory_is_refused(tmp_path: Path) -> None:
    with neighbours(tmp_path), pytest.raises(DataDirLocked, match=f"with pid {os.getpid()}"), neighbours(tmp_path):
        pass


def test_a_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataDirUnusable, match="contains other files"):
        DataDir.open(tmp_path)


def test_broken_secrets_are_refused_and_not_replaced(tmp_path: Path) -> None:
    with DataDir.open(tmp_path) as opened:
        (tmp_path / "secrets.json").write_text("{")
        with pytest.raises(DataDirUnusable, match=r"secrets\.json"):
            opened.secrets()
    assert (tmp_path / "secrets.json").read_text() == "{"


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path) -> None:
    with DataDir.open(tmp_path) as opened:
        with (tmp_path / "logs" / "s3.log").open("wb") as log:
            log.truncate(10 * 2**20 + 1)
        assert not opened.log("s3").exists()
    assert (tmp_path / "logs" / "s3.log.1").exists()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(PortTaken, match="--port 0"):
        usable_port(server.getsockname()[1], "127.0.0.1")


def test_run_json_tells_how_to_reach_the_stack_and_goes_with_it(tmp_path: Path) -> None:
    with stack(tmp_path) as process:
        path = tmp_path / "run.json"
        told = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert set(told["processes"]) == {"valkey", "s3", "api"}
        assert {"api_url", "api_key", "redis_url", "s3_endpoint", "s3_bucket"} <= set(told)
        with contextlib.closing(redis.Redis.from_url(told["redis_url"])) as client:
            assert client.hlen("stentor:keys") == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not path.exists()
    assert not any(leftovers.is_alive(pid) for pid in told["processes"].values())


@pytest.mark.faults
@pytest.mark.parametrize("name", ["valkey", "s3", "api"])
def test_a_killed_process_of_the_stack_heals_at_its_old_address(tmp_path: Path, name: str) -> None:
    with stack(tmp_path):
        before = runfile.read(tmp_path)
        assert before is not None
        os.kill(before.processes[name], signal.SIGKILL)

        def healed() -> runfile.RunFile | None:
            now = runfile.read(tmp_path)
            return now if now and now.processes.get(name, before.processes[name]) != before.processes[name] else None

        after = eventually(healed)
        assert after is not None
        assert (after.redis_url, after.s3_endpoint, after.api_url) == (
            before.redis_url,
            before.s3_endpoint,
            before.api_url,
        )
        with contextlib.closing(redis.Redis.from_url(after.redis_url)) as client:
            assert client.hlen("stentor:keys") == 1
        connection = http.client.HTTPConnection("127.0.0.1", int(after.s3_endpoint.rpartition(":")[2]), timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            assert connection.getresponse().status == 403


@pytest.mark.faults
def test_nothing_outlives_a_killed_supervisor_and_the_next_start_works(tmp_path: Path) -> None:
    with stack(tmp_path) as process:
        told = runfile.read(tmp_path)
        assert told is not None
        process.kill()
        process.wait()
        assert runfile.read(tmp_path) is None, "a run.json whose supervisor is gone counts for nothing"
        with stack(tmp_path):
            assert not any(leftovers.is_alive(pid) for pid in told.processes.values())


@pytest.mark.faults
def test_a_killed_watchdog_is_replaced(tmp_path: Path) -> None:
    with stack(tmp_path) as process:

        def watchdog() -> int | None:
            for child in psutil.Process(process.pid).children():
                with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                    if "watchdog.py" in " ".join(child.cmdline()):
                        return int(child.pid)
            return None

        first = eventually(watchdog)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: watchdog() not in (None, first))
