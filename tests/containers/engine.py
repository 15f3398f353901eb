"""podman and buildah as these tests call them: real ones, as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
#: What is built without a GPU, and how large each may be beyond the base, in MB.
AT_MOST_MB: Final = {"api": 250, "scheduler": 150, "worker": 700}
TAG: Final = "dev"
#: Files of this machine that a build needs to reach the package registries, where there are any.
HANDED_IN: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
#: On a busy machine of two cores, with a storage that copies a whole image for each layer.
BUILD_S: Final = 1800


def missing() -> str | None:
    """What is wanted to run containers and is not there."""
    if os.geteuid() != 0:
        return "containers are built and run as root here"
    absent = [program for program in ("podman", "buildah") if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} cannot be found"
    found = subprocess.run(["podman", "image", "exists", BASE], env=environ(), check=False)
    return None if found.returncode == 0 else f"there is no image {BASE}"


def environ() -> dict[str, str]:
    """The environment of podman and buildah; what the caller has set stands."""
    files = [f"--volume={path}:{path}:ro" for path in HANDED_IN if Path(path).exists()]
    made = {
        "BUILDAH_ISOLATION": "chroot",
        "BUILDER": "buildah",
        "BUILD_OPTIONS": " ".join(["--network=host", *files]),
        "TAG": TAG,
    }
    return {**made, **os.environ}


def build(*targets: str, folder: Path = ROOT, tag: str = TAG) -> None:
    """Build images as ``make images`` does, of the checkout in ``folder``."""
    done = subprocess.run(
        [folder / "compose" / "build.sh", *targets],
        env={**environ(), "TAG": tag}, capture_output=True, text=True, check=False, timeout=BUILD_S,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def podman(*arguments: str, check: bool = True, timeout_s: float = 120) -> str:
    """What podman prints."""
    done = subprocess.run(
        ["podman", *arguments], env=environ(), capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert not check or done.returncode == 0, f"podman {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def image(name: str, tag: str = TAG) -> str:
    return f"localhost/stentor/{name}:{tag}"


def inspect(name: str) -> dict[str, Any]:
    (found,) = json.loads(podman("image", "inspect", name))
    assert isinstance(found, dict)
    return found


def layers(name: str) -> list[str]:
    """The digests of an image's layers, the base's first."""
    found = inspect(name)["RootFS"]["Layers"]
    assert isinstance(found, list)
    return found


def run_once(name: str, *command: str) -> str:
    """What a command prints in a container of an image, as locked up as the rooms are."""
    locked_up = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none")
    return podman("run", "--rm", "--no-healthcheck", *locked_up, image(name), *command)
