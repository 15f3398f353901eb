"""The data directory of an embedded stack: what lies where, who may read it, and who holds it.

DIR/             0700
├── lock         held with flock() by the supervisor and by every process it starts
├── secrets.json 0600; made once
├── run.json     0600; there while the stack is ready (see ``runfile``)
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

#: A log of more bytes is put aside as ``<name>.log.1`` when its process starts.
LOG_LIMIT_BYTES = 10 * 2**20


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where the stack keeps its data if nobody says: ``$STENTOR_DATA_DIR``, else the XDG directory for data."""
    if chosen := environ.get("STENTOR_DATA_DIR"):
        return Path(chosen).expanduser().resolve()
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "stentor"


def write_private(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` with mode 0600, at once or not at all."""
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
    """What the parts of one stack prove themselves with. Made once per data directory."""

    redis_password: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    s3_access_key: str = dataclasses.field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    #: Signs the messages between the servers inside SeaweedFS.
    s3_internal_key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))
    api_key: str = dataclasses.field(default_factory=access.new_secret)


class DataDir:
    """An open data directory: its places, its secrets, and the lock that keeps others out."""

    def __init__(self, root: Path, descriptor: int) -> None:
        self.root = root
        self._lock = descriptor

    @classmethod
    def open(cls, root: Path) -> Self:
        """Make the directory if needed and take its lock.

        Raises:
            DataDirUnusable: it cannot be made or written.
            DataDirLocked: another stack works in it; the sentence says which process.
        """
        root = root.expanduser().absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(root.iterdir()) and not (root / "lock").exists():
                raise DataDirUnusable(f"{root} holds other things; name an empty or a new directory with --data-dir")
            root.chmod(0o700)
            for name in ("run", "valkey", "s3", "logs"):
                (root / name).mkdir(mode=0o700, exist_ok=True)
            descriptor = lock.take(root / "lock")
        except OSError as exc:
            raise DataDirUnusable(f"{root} cannot serve as the data directory: {exc}") from exc
        return cls(root, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def lock(self) -> int:
        """The descriptor of the lock; processes that inherit it keep the directory held while they live."""
        return self._lock

    @property
    def run(self) -> Path:
        """Where configuration and secrets for the children are written."""
        return self.root / "run"

    def log(self, name: str) -> Path:
        """The log file of a process, put aside before if it has grown too large."""
        path = self.root / "logs" / f"{name.replace(':', '-').replace('/', '-')}.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def secret_file(self, name: str, value: str) -> Path:
        """A file below ``run`` with mode 0600 that holds ``value``."""
        path = self.run / name
        write_private(path, value)
        return path

    def secrets(self) -> Secrets:
        """This directory's secrets: those of the first start, found again.

        Raises:
            DataDirUnusable: the file with the secrets cannot be read as such.
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
        """Note in the lock file who holds it: the supervisor first, then what it has started."""
        lock.write_holders(self._lock, [os.getpid(), *pids])


def _read_object(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataDirUnusable(f"{path} cannot be read as JSON: {exc}; restore it or remove it") from exc
    if not isinstance(kept, dict) or not all(isinstance(value, str) and value for value in kept.values()):
        raise DataDirUnusable(f"{path} must hold one JSON object of strings; restore it or remove it")
    return kept
