"""The pods of the try-out overlay, started by their own commands and environments: a text goes through them.

There is no cluster here. What a pod mounts is in a folder, and Redis and S3 are on this machine, as their secrets and
settings say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes import copied, environment, pods, render
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually


@pytest.fixture
def rooms(programs: None, tmp_path: Path) -> Iterator[Rooms]:
    for name in ("near", "logs"):
        (tmp_path / name).mkdir()
    with rooms_apart(tmp_path / "near", tmp_path / "logs") as made:
        yield made


def start_pods(rooms: Rooms, folder: Path, *names: str) -> None:
    near = rooms.near
    urls = {f"redis_url_{role}": near.redis_url for role in ("api", "io", "worker", "scheduler")}
    with copied(**urls, s3_access_key=near.s3_access_key, s3_secret_key=near.s3_secret_key) as manifests:
        settings = manifests / "overlays" / "cpu" / "settings.env"
        settings.write_text(re.sub("http://(s3|localhost):8333", near.s3_endpoint, settings.read_text()))
        resources = render(manifests, "cpu")
    outer = {name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")}
    outer["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{outer['PATH']}"
    for pod in pods(resources):
        name = pod.workload["metadata"]["name"]
        if name in names:
            environ = environment(resources, pod, folder / name)
            # Ports of one machine are not those of many pods.
            environ |= {"STENTOR_METRICS_BIND": "127.0.0.1:0"} if "STENTOR_METRICS_BIND" in environ else {}
            words = [word.replace("0.0.0.0:8080", f"127.0.0.1:{rooms.port}") for word in pod.container["args"]]
            with (folder / f"{name}.log").open("wb") as log:
                rooms.running[name] = subprocess.Popen(words, env={**outer, **environ}, stdout=log, stderr=log)


def test_a_text_goes_through_the_pods(rooms: Rooms, tmp_path: Path) -> None:
    start_pods(rooms, tmp_path / "logs", "api", "io", "worker", "scheduler")
    eventually(rooms.ready, 180)
    [job] = rooms.settled(rooms.submit("Lane four is open."))
    assert (job["state"], job["device"]) == ("succeeded", "worker-0/cpu")
    assert str(job["audio_url"]).startswith(rooms.near.s3_endpoint)
    [device] = rooms.http("GET", "/v1/devices").json()["devices"]
    assert (device["id"], device["node"]) == ("worker-0/cpu", "node-1")
    assert rooms.events("device_taken", "worker") == []
