"""The images' tags, made from real git repositories."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: Late in the evening west of Greenwich: in UTC it is the next day.
COMMITTED = "2026-11-27T20:30:00-05:00"


class Repository:
    """A checkout with the one file that the tags need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pins = folder / "compose" / "requirements"
        pins.mkdir(parents=True)
        (pins / "engine-piper-gpu.txt").write_text("nvidia-cuda-runtime==12.8.90 \\\n    --hash=sha256:00\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", ".")
        self.commit()

    def git(self, *words: str) -> None:
        who = {f"GIT_{role}_{what}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environ = {**os.environ, **who, "GIT_COMMITTER_DATE": COMMITTED, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", "-C", self.folder, *words], check=True, capture_output=True, env=environ)

    def commit(self) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message=work")

    def tags(self, *options: str) -> list[str]:
        command = [sys.executable, str(ROOT / "compose" / "image_tags.py"), f"--folder={self.folder}", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_all_images_of_a_release_have_one_tag_with_its_version_and_its_cuda(repository: Repository) -> None:
    repository.git("tag", "v1.4.0")
    assert repository.tags() == [
        "stentor/api:v1.4.0-cu128-py311",
        "stentor/worker:v1.4.0-cu128-py311",
        "stentor/worker-gpu:v1.4.0-cu128-py311",
        "stentor/scheduler:v1.4.0-cu128-py311",
    ]


def test_of_two_releases_of_one_commit_the_newer_counts(repository: Repository) -> None:
    for tag in ("v1.9.0", "v1.10.0", "v1.10.0-rc1", "nightly"):
        repository.git("tag", tag)
    assert repository.tags()[0] == "stentor/api:v1.10.0-cu128-py311"


def test_anything_else_is_of_the_day_of_its_commit(repository: Repository) -> None:
    repository.git("tag", "v1.4.0")
    repository.commit()
    assert set(repository.tags("--registry=registry.example.com/speech")) == {
        "registry.example.com/speech/api:dev-20261128",
        "registry.example.com/speech/worker:dev-20261128",
        "registry.example.com/speech/worker-gpu:dev-20261128",
        "registry.example.com/speech/scheduler:dev-20261128",
    }


def test_a_hotfix_is_numbered_within_its_day(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "hotfix/void-claims")
    repository.commit()
    assert repository.tags()[0] == "stentor/api:hotfix-20261128-2"
    repository.commit()
    assert repository.tags()[0] == "stentor/api:hotfix-20261128-3"


def test_what_is_not_committed_is_never_a_release(repository: Repository) -> None:
    repository.git("tag", "v1.4.0")
    (repository.folder / "compose" / "requirements" / "engine-piper-gpu.txt").write_text(
        "nvidia-cuda-runtime==13.5.37\n"
    )
    assert repository.tags()[2] == "stentor/worker-gpu:dev-20261128"


def test_a_build_gets_its_tags_and_its_labels_as_variables(repository: Repository) -> None:
    repository.git("tag", "v1.4.0")
    tag, revision, created = repository.tags("--shell")
    assert tag == "TAG=v1.4.0-cu128-py311"
    assert len(revision) == len("REVISION=") + 40
    assert created == f"CREATED={COMMITTED}"


def test_this_checkout_has_a_tag_for_each_image_and_no_latest() -> None:
    command = [sys.executable, str(ROOT / "compose" / "image_tags.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT.parent).stdout
    assert printed.count("\n") == 4
    assert "latest" not in printed


@pytest.mark.parametrize(
    "name", ["compose/.env.example", *(f"compose/kubernetes/overlays/{of}/kustomization.yaml" for of in ("cpu", "gpu"))]
)
def test_what_is_deployed_names_the_cuda_that_is_in_the_images(name: str) -> None:
    """A tag with another one would be of images that nobody makes."""
    pins = (ROOT / "compose" / "requirements" / "engine-piper-gpu.txt").read_text(encoding="utf-8")
    found = set(re.findall(r"v\d+\.\d+\.\d+-(cu\d+)-py311", (ROOT / name).read_text(encoding="utf-8")))
    major, minor = re.findall(r"^nvidia-cuda-runtime==(\d+)\.(\d+)\.", pins, re.MULTILINE)[0]
    assert found == {f"cu{major}{minor}"}
