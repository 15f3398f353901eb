"""Builds the stub ``libnvidia-ml.so.1`` with the machine's C compiler."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("stub.c")
#: The name under which nvidia-ml-py looks for the driver's library.
LIBRARY = "libnvidia-ml.so.1"


@functools.cache
def library() -> Path:
    """The built library, in a folder for ``LD_LIBRARY_PATH``; without a compiler skips, or fails in CI."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            raise RuntimeError("there is no C compiler for tests/nvml/stub.c; .ci/run installs gcc")
        pytest.skip("there is no C compiler for tests/nvml/stub.c")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"stentor-nvml-{os.getuid()}-{digest}"
    made = folder / LIBRARY
    if not made.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        part = folder / f"{os.getpid()}.part"
        options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
        subprocess.run(
            [compiler, *options, f"-Wl,-soname,{LIBRARY}", "-o", str(part), str(SOURCE), "-pthread"],
            check=True,
            timeout=60,
        )
        part.replace(made)
    return made
