"""Files that are uploaded and downloaded."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


class WatchedFile:
    """A file that reports how many bytes of it were read."""

    def __init__(self, file: IO[bytes], on_read: Callable[[int], object]) -> None:
        self._file = file
        self._on_read = on_read
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        piece = self._file.read(size)
        self._on_read(self._file.tell())
        return piece


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path to write to. It is renamed to ``path`` at the end, unless writing failed."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
