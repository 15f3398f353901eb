"""The black box: what a device's process is doing, in memory that outlives it because its parent holds it too."""

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

#: Room for the ids of a batch of 8,000 jobs. A longer list is not written, and then every orphan is a suspect.
SIZE = 256 * 1024
_LENGTH = struct.Struct("<I")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrashReport:
    """What the process before this one was doing when it ended."""

    #: The jobs that were in its forward pass; empty when none was running.
    jobs: frozenset[str]
    out_of_memory: bool = False
    #: Stacks of all threads when the pass was ended because it took too long; empty if it was not.
    stack: str = ""

    def error(self, detail: str) -> SynthesisError:
        """The error of a job that has ended its process too often."""
        if self.out_of_memory:
            return OutOfMemory(detail)
        return EngineHung(detail) if self.stack else EngineCrashed(detail)


class BlackBox:
    """Made once by the parent, before it forks; written by the child that is the device, and read by the next child."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE)
        #: faulthandler writes here: a file without a name, which disappears with the last process that holds it.
        self.stack_fd = _open_nameless_file()
        weakref.finalize(self, os.close, self.stack_fd)

    def begin(self, jobs: frozenset[str]) -> None:
        """Note that a forward pass over these jobs begins."""
        self._write_record({"jobs": sorted(jobs)})

    def end(self) -> None:
        """Note that it is over."""
        self._write_record({"jobs": []})

    def note_out_of_memory(self) -> None:
        """Note that the process is about to end itself, because the pass takes too much memory."""
        self._write_record({**(self._read_record() or {"jobs": []}), "out_of_memory": True})

    def read_crash_report(self) -> CrashReport | None:
        """What the process before this one was doing; None if there was none or it never spoke. Clears the stacks."""
        found = self._read_record()
        stack = os.pread(self.stack_fd, SIZE, 0).decode(errors="replace")
        os.ftruncate(self.stack_fd, 0)
        os.lseek(self.stack_fd, 0, os.SEEK_SET)
        if found is None:
            return None
        return CrashReport(jobs=frozenset(found["jobs"]), out_of_memory=found.get("out_of_memory", False), stack=stack)

    def _write_record(self, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        # A process that dies half-way leaves a length of 0, which means that nothing is known.
        self._memory[: _LENGTH.size] = _LENGTH.pack(0)
        if len(body) > SIZE - _LENGTH.size:
            return
        self._memory[_LENGTH.size : _LENGTH.size + len(body)] = body
        self._memory[: _LENGTH.size] = _LENGTH.pack(len(body))

    def _read_record(self) -> dict[str, Any] | None:
        (length,) = _LENGTH.unpack(self._memory[: _LENGTH.size])
        if not length:
            return None
        found: dict[str, Any] = json.loads(self._memory[_LENGTH.size : _LENGTH.size + length])
        return found


def _open_nameless_file() -> int:
    descriptor, path = tempfile.mkstemp(prefix="stentor-stack-")
    Path(path).unlink()
    return descriptor
