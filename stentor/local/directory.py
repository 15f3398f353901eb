"""The data directory of an embedded stack: its files, their modes, and its lock.

DIR/             0700
├── lock         held with flock() by the supervisor and by every process it starts
├── secrets.json 0600; written once
├── run.json     0600; exists while the stack is ready (see ``runfile``)
├── run/         0700; configuration of the servers, secrets as files; written at each start
├── valkey/      append-only file
├── s3/          objects
└── logs/        one file per process
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from stentor.local import lock
from stentor.local.errors import DataDirUnusable
from stentor.owners import access

#: A larger log is renamed to ``<name>.log.1`` when its process starts.
LOG_LIMIT_BYTES = 10 * 2**20


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """The data directory without --data-dir: ``$STENTOR_DATA_DIR``, or else the XDG data directory."""
    if chosen := environ.get("STENTOR_DATA_DIR"):
        return Path(chosen).expanduser().resolve()
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "stentor"


def write_private(path: Path, text: str) -> None:
    """Write ``text`` into ``path`` with mode 0600, atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp gives mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Secrets:
    """The secrets with which the parts of one stack authenticate. Created once per data directory."""

    redis_password: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    s3_access_key: str = dataclasses.field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    #: Signs the messages between the servers inside SeaweedFS.
    s3_internal_key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    api_key: str = dataclasses.field(default_factory=access.new_secret)


class DataDir:
    """An open data directory: its paths, its secrets, and its lock."""

    def __init__(self, root: Path, descriptor: int) -> None:
        self.root = root
        self._lock = descriptor

    @classmethod
    def open(cls, root: Path) -> Self:
        """Create the directory if needed and take its lock.

        Raises:
            DataDirUnusable: it cannot be created or written.
            DataDirLocked: another stack uses it; the message names the process.
        """
        root = root.expanduser().absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(root.iterdir()) and not (root / "lock").exists():
                raise DataDirUnusable(f"{root} contains other files. Use an empty or new directory with --data-dir.")
            root.chmod(0o700)
            for name in ("run", "valkey", "s3", "logs"):
                (root / name).mkdir(mode=0o700, exist_ok=True)
            descriptor = lock.take(root / "lock")
        except OSError as exc:
            raise DataDirUnusable(f"Cannot use {root} as the data directory: {exc}") from exc
        return cls(root, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def lock(self) -> int:
        """The descriptor of the lock. Processes that inherit it keep the directory locked while they run."""
        return self._lock

    @property
    def run(self) -> Path:
        """The folder for the configuration and secrets of the children."""
        return self.root / "run"

    def log(self, name: str) -> Path:
        """The log file of a process. A log that is too large is renamed first."""
        path = self.root / "logs" / f"{name.replace(':', '-').replace('/', '-')}.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def secret_file(self, name: str, value: str) -> Path:
        """Write ``value`` into a file below ``run`` with mode 0600, and return its path."""
        path = self.run / name
        write_private(path, value)
        return path

    def secrets(self) -> Secrets:
        """The secrets of this directory: those of the first start, or new ones.

        Raises:
            DataDirUnusable: the file with the secrets is not readable.
        """
        path = self.root / "secrets.json"
        kept = _read_object(path) if path.exists() else {}
        known = {field.name for field in dataclasses.fields(Secrets)}
        found = Secrets(**{name: value for name, value in kept.items() if name in known})
        if dataclasses.asdict(found) != kept:
            write_private(path, json.dumps(dataclasses.asdict(found), indent=2) + "\n")
        path.chmod(0o600)
        return found

    def remember_children(self, pids: list[int]) -> None:
        """Write into the lock file which processes hold it: the supervisor first, then its children."""
        lock.write_holders(self._lock, [os.getpid(), *pids])


def _read_object(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataDirUnusable(f"Cannot read {path} as JSON: {exc}. Restore it or remove it.") from exc
    if not isinstance(kept, dict) or not all(isinstance(value, str) and value for value in kept.values()):
        raise DataDirUnusable(f"{path} must contain one JSON object of strings. Restore it or remove it.")
    return kept
