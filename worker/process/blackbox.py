"""The black box: what a device's process was doing, in memory that outlives it because its parent holds it too."""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import struct
import tempfile
import weakref
from pathlib import Path
from typing import Any

from stentor.errors import EngineCrashed, EngineHung, OutOfMemory, SynthesisError

#: Room for the ids of a batch of 8,000 jobs. A longer list is cut off, and then every orphan is a suspect.
SIZE = 256 * 1024
_LENGTH = struct.Struct("<I")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrashReport:
    """What the process before this one was doing when it ended."""

    #: The jobs that were in its forward pass; empty when none was running.
    jobs: frozenset[str]
    out_of_memory: bool = False
    #: Where all threads stood when the pass was ended for taking too long; empty if it was not.
    stack: str = ""

    def error(self, detail: str) -> SynthesisError:
        """Why a job that ended its process as often as is allowed fails."""
        if self.out_of_memory:
            return OutOfMemory(detail)
        return EngineHung(detail) if self.stack else EngineCrashed(detail)


class BlackBox:
    """Made once by the parent, before it forks; written by the child that is the device, read by the next one."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)
        #: faulthandler writes here: a file without a name, which goes when the last process that holds it does.
        self.stack_fd = _nameless_file()
        weakref.finalize(self, os.close, self.stack_fd)

    def begin(self, jobs: frozenset[str]) -> None:
        """A forward pass over these jobs begins."""
        self._write({"jobs": sorted(jobs)})

    def end(self) -> None:
        """It is over."""
        self._write({"jobs": []})

    def out_of_memory(self) -> None:
        """The process is about to end itself, because the pass takes more memory than there is."""
        self._write({**(self._read() or {"jobs": []}), "out_of_memory": True})

    def crash_report(self) -> CrashReport | None:
        """What the process before this one wrote last; None if there was none, or it never spoke."""
        found = self._read()
        stack = os.pread(self.stack_fd, SIZE, 0).decode(errors="replace")
        os.ftruncate(self.stack_fd, 0)
        os.lseek(self.stack_fd, 0, os.SEEK_SET)
        if found is None:
            return None
        return CrashReport(jobs=frozenset(found["jobs"]), out_of_memory=found.get("out_of_memory", False), stack=stack)

    def _write(self, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        # Whoever dies half-way leaves a length of 0, which says that nothing is known.
        self._memory[: _LENGTH.size] = _LENGTH.pack(0)
        if len(body) > SIZE - _LENGTH.size:
            return
        self._memory[_LENGTH.size : _LENGTH.size + len(body)] = body
        self._memory[: _LENGTH.size] = _LENGTH.pack(len(body))

    def _read(self) -> dict[str, Any] | None:
        (length,) = _LENGTH.unpack(self._memory[: _LENGTH.size])
        if not length:
            return None
        found: dict[str, Any] = json.loads(self._memory[_LENGTH.size : _LENGTH.size + length])
        return found


def _nameless_file() -> int:
    descriptor, path = tempfile.mkstemp(prefix="stentor-stack-")
    Path(path).unlink()
    return descriptor
