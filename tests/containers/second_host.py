"""A second host of the stack: compose.host.yaml, what it needs to join, and a CPU in place of its GPU."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.containers import engine
from tests.containers.compose import MAIN, ComposeStack, podman_compose
from tests.support.servers.access_list import COMPOSE

HOST: Final = "second"
FILES: Final = ("compose.host.yaml", "test.yaml")


def override(network: str) -> str:
    """What takes the place of GPUs, and of the network between hosts: one on which nginx of the first is."""
    worker = {
        "image": f"stentor/worker:{engine.TAG}",
        "command": ["stentor", "worker", "--device", "cpu"],
        "healthcheck": {"test": ["CMD", "stentor", "health", "worker", "--device", "cpu"]},
    }
    services: dict[str, dict[str, object]] = {"worker-gpu-0": {"deploy": None, **worker}, "scheduler": {"deploy": None}}
    text = json.dumps({"services": services, "networks": {"out": {"external": True, "name": network}}})
    # A tag of YAML, which JSON lacks: what the first file says of GPUs is dropped.
    return text.replace('"deploy": null', '"deploy": !reset {}')


@contextlib.contextmanager
def second_host(first: ComposeStack, folder: Path) -> Iterator[None]:
    """Within, another host has joined."""
    project = f"{first.project}-host"
    shutil.copy2(COMPOSE / "compose.host.yaml", folder)
    (folder / "voices").mkdir()
    shutil.copytree(first.joining(), folder / "join")
    # A copy belongs to who copies; this is what docs/howto/deploy.md tells to do then.
    subprocess.run(["chown", "-R", "1001:1001", folder / "join"], check=True)
    (folder / "test.yaml").write_text(override(f"{first.project}_edge"), "utf-8")
    told = {"STENTOR_TAG": engine.TAG, "STENTOR_MAIN": MAIN, "STENTOR_HOST": HOST}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in told.items()), "utf-8")
    try:
        podman_compose(folder, project, FILES, "up", "--detach")
        yield
    finally:
        podman_compose(folder, project, FILES, "down", "--volumes", "--timeout", "5")
