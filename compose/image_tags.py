"""The tags of the images, from git; ``make image-tags`` prints them.

All images of a commit have one tag, so that one word upgrades a host or rolls it back. A release has
`v1.4.0-cu135-py311`, with the CUDA of its GPU worker. A commit on a branch `hotfix/...` has its day and its number
among the commits of that day: `hotfix-20261128-2`. Any other commit has its day: `dev-20261128`. There is no `latest`,
because you can only roll back to an image that has a name.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGES: Final = ("api", "worker", "worker-gpu", "scheduler")
#: The version of NVIDIA's runtime is the CUDA version of the GPU worker.
CUDA_PIN: Final = re.compile(r"^nvidia-cuda-runtime==(\d+)\.(\d+)\.", re.MULTILINE)
RELEASE: Final = re.compile(r"v\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The commit that the images are built from, as git describes it."""

    #: The tag of a release: `v1.4.0`. None if the commit is not a release.
    release: str | None
    branch: str
    #: Day of the commit, in UTC.
    day: str
    #: Number of the commit among the commits of that day on its branch, from 1.
    number: int
    #: Whether there are uncommitted changes.
    dirty: bool


def tag(source: Source, cuda: str, python: str = "py311") -> str:
    """The tag of all images."""
    if source.release and not source.dirty:
        return f"{source.release}-{cuda}-{python}"
    if source.branch.startswith("hotfix/") and not source.dirty:
        return f"hotfix-{source.day}-{source.number}"
    return f"dev-{source.day}"


def cuda_of(requirements: str) -> str:
    """The CUDA version in the GPU worker, from its pinned packages: `cu128` for 12.8."""
    found = CUDA_PIN.search(requirements)
    if found is None:
        raise SystemExit("compose/requirements/engine-piper-gpu.txt pins no nvidia-cuda-runtime. Run `make lock`.")
    return f"cu{found[1]}{found[2]}"


def source_of(folder: Path) -> Source:
    """The commit that is checked out in the folder."""
    released = [name for name in _git(folder, "tag", "--points-at", "HEAD").split() if RELEASE.fullmatch(name)]
    day = _git(folder, "log", "-1", "--date=format-local:%Y%m%d", "--format=%cd")
    same_day = _git(folder, "log", "--first-parent", "--date=format-local:%Y%m%d", "--format=%cd").split().count(day)
    return Source(
        release=max(released, key=_order, default=None),
        branch=_git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        day=day,
        number=same_day,
        dirty=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    )


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release[1:].split("."))


def variables(folder: Path, made: str) -> Mapping[str, str]:
    """Environment variables for `compose/docker-bake.hcl` and `make images`."""
    return {
        "TAG": made,
        "REVISION": _git(folder, "rev-parse", "HEAD"),
        "CREATED": _git(folder, "log", "-1", "--format=%cI"),
    }


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"}
    ).stdout.strip()


def main() -> None:
    """Print the tags, such as `stentor/api:v1.4.0-cu135-py311`; with `--shell` the variables of a build."""
    parser = argparse.ArgumentParser(description="Print the images' tags, made from git.")
    parser.add_argument("--folder", type=Path, default=ROOT, help="The checkout (default: this one).")
    parser.add_argument("--registry", default="stentor", help="The prefix of the images' names.")
    parser.add_argument("--shell", action="store_true", help="Print NAME=VALUE lines for a build instead.")
    options = parser.parse_args()
    source = source_of(options.folder)
    requirements = options.folder / "compose" / "requirements" / "engine-piper-gpu.txt"
    made = tag(source, cuda_of(requirements.read_text(encoding="utf-8")))
    if options.shell:
        lines = [f"{name}={value}" for name, value in variables(options.folder, made).items()]
    else:
        lines = [f"{options.registry}/{image}:{made}" for image in IMAGES]
    print("\n".join(lines))  # noqa: T201 - what the script is for


if __name__ == "__main__":
    main()
