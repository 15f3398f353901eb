"""Simulated GPUs for tests: the stub library's file, made, driven and read from here."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.nvml.build import library

#: Where the stub finds its GPUs. Not ``STENTOR_...``: Stentor refuses variables of that kind that it does not know.
VARIABLE: Final = "STUB_NVML"
#: What can be told to fail; the order is that of ``stub.c``.
FUNCTIONS: Final = (
    "init", "handle", "uuid", "energy", "power", "memory", "clocks", "temperature", "utilization", "processes",
    "mig", "supported", "set_gpu", "set_memory", "reset_gpu", "reset_memory",
)  # fmt: skip
#: NVML's errors that tests inject.
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, UNKNOWN = 3, 4, 9, 999
#: States of a simulated GPU, as in ``stub.c``.
STATES: Final = ("empty", "empty_low", "idle", "idle_low", "busy", "busy_low")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watts:
    """The power that a GPU takes in each of its states."""

    #: No context; the same at clocks that were locked low.
    empty: float = 8.0
    empty_low: float = 8.0
    #: A context that does nothing.
    idle: float = 30.0
    idle_low: float = 18.0
    busy: float = 70.0
    busy_low: float = 40.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeGpu:
    """One GPU to simulate. The figures are those of no GPU in particular."""

    uuid: str = "GPU-00000000-0000-0000-0000-000000000001"
    name: str = "Simulated GPU"
    memory_bytes: int = 24 * 10**9
    #: Ascending, MHz.
    sm_clocks: Sequence[int] = (210, 645, 1080, 1515, 2040)
    memory_clocks: Sequence[int] = (405, 6251)
    watts: Watts = Watts()


@dataclasses.dataclass(frozen=True)
class Call:
    """One attempt to set or reset clocks."""

    at: float
    pid: int
    uuid: str
    function: str
    low_mhz: int
    high_mhz: int
    result: int

    @property
    def words(self) -> tuple[str, int, int, int]:
        """What a test compares: function, clocks, result."""
        return self.function, self.low_mhz, self.high_mhz, self.result


class _Call(ctypes.Structure):
    _fields_ = (
        ("at", ctypes.c_double),
        *((name, ctypes.c_int) for name in ("pid", "gpu", "function", "low", "high", "result")),
    )


class StubGpus:
    """The simulated GPUs of one file. One per process at a time: the stub holds one file."""

    def __init__(self, path: Path, gpus: Sequence[FakeGpu]) -> None:
        self.path = path
        self.uuids = [gpu.uuid for gpu in gpus]
        # As the library bears the name that nvidia-ml-py asks for, its own CDLL in this process finds this one.
        self._lib = ctypes.CDLL(str(library()))

    @classmethod
    def create(cls, path: Path, gpus: Sequence[FakeGpu] = (FakeGpu(),), *, now: float = 0.0) -> StubGpus:
        """A fresh file with these GPUs, which this process looks at from now on; with ``now`` in a virtual time."""
        made = cls(path, gpus)
        assert made._lib.stub_create(str(path).encode(), ctypes.c_double(now)) == 0, f"{path} cannot be written"
        for gpu in gpus:
            watts = (ctypes.c_double * len(STATES))(*(getattr(gpu.watts, name) for name in STATES))
            made._lib.stub_add(
                gpu.uuid.encode(),
                gpu.name.encode(),
                ctypes.c_uint64(gpu.memory_bytes),
                _clocks(gpu.sm_clocks),
                _clocks(gpu.memory_clocks),
                watts,
            )
        return made

    @property
    def environ(self) -> dict[str, str]:
        """Variables with which another process sees the same GPUs."""
        before = os.environ.get("LD_LIBRARY_PATH")
        folder = str(library().parent)
        return {VARIABLE: str(self.path), "LD_LIBRARY_PATH": f"{folder}:{before}" if before else folder}

    def close(self) -> None:
        """Leave this process without a driver."""
        self._lib.stub_close()

    def set_time(self, now: float) -> None:
        """Set a virtual time, in seconds; 0 goes back to the machine's clock. Until then all went on as it was."""
        self._lib.stub_set_time(ctypes.c_double(now))

    def context(
        self, uuid: str, pid: int, memory_bytes: int = 2 * 10**9, *, on: bool = True, is_virtual: bool = False
    ) -> None:
        """Give a process a context, or take it; one of a process that ended goes by itself unless it is virtual."""
        done = self._lib.stub_context(self._index(uuid), pid, ctypes.c_uint64(memory_bytes), int(is_virtual), int(on))
        assert done == 0 or not on, "there is no place for one more context"

    def busy(self, uuid: str, on: bool) -> None:
        """Let it compute, or not."""
        self._lib.stub_busy(self._index(uuid), int(on))

    def inject(self, function: str, error: int, uuid: str | None = None) -> None:
        """Let one of ``FUNCTIONS`` answer with that error, on all GPUs or one; 0 ends it."""
        for index in range(len(self.uuids)) if uuid is None else [self._index(uuid)]:
            self._lib.stub_inject(index, FUNCTIONS.index(function), error)

    def lose(self, uuid: str, lost: bool = True) -> None:
        """Let it fall off the bus, or come back as after a reset."""
        self._lib.stub_lose(self._index(uuid), int(lost))

    def mig(self, uuid: str, on: bool = True) -> None:
        """Switch its MIG mode."""
        self._lib.stub_mig(self._index(uuid), int(on))

    def lock_by_hand(self, uuid: str, sm_mhz: int, memory_mhz: int = 0) -> None:
        """Lock its clocks as an administrator would."""
        self._lib.stub_lock_clocks(self._index(uuid), sm_mhz, memory_mhz)

    def locks(self, uuid: str) -> tuple[int, int]:
        """Its locked clocks in MHz, of SM and memory; 0 for none."""
        found = (ctypes.c_uint32 * 2)()
        self._lib.stub_locks(self._index(uuid), found)
        return found[0], found[1]

    def ledger(self, uuid: str) -> dict[str, tuple[float, float]]:
        """Seconds and joules that it has spent in each of ``STATES``."""
        seconds, joules = (ctypes.c_double * len(STATES))(), (ctypes.c_double * len(STATES))()
        self._lib.stub_ledger(self._index(uuid), seconds, joules)
        return {name: (seconds[at], joules[at]) for at, name in enumerate(STATES)}

    def calls(self) -> list[Call]:
        """All attempts to set or reset clocks, of all processes; the latest 8192."""
        count, found = self._lib.stub_calls(), []
        for at in range(max(0, count - 8192), count):
            call = _Call()
            self._lib.stub_call(at, ctypes.byref(call))
            found.append(
                Call(
                    call.at, call.pid, self.uuids[call.gpu], FUNCTIONS[call.function], call.low, call.high, call.result
                )
            )
        return found

    def _index(self, uuid: str) -> int:
        return self.uuids.index(uuid)


def _clocks(mhz: Sequence[int]) -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * (len(mhz) + 1))(*sorted(mhz), 0)


@contextlib.contextmanager
def stub_gpus(folder: Path, *gpus: FakeGpu, now: float = 0.0) -> Iterator[StubGpus]:
    """Simulated GPUs that this process's NVML sees within."""
    made = StubGpus.create(folder / "gpus", gpus or (FakeGpu(),), now=now)
    try:
        yield made
    finally:
        made.close()
