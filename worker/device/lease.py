"""The lease of a device: one worker at a time has it, and a second worker with the same name is refused.

The worker's parent process holds it, not the process that speaks: that one may be replaced, or hang for minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import redis

from stentor import log
from stentor.errors import DeviceTaken, RedisUnavailable
from stentor.redis import keys
from stentor.redis.lease import Lease, Renewal
from stentor.redis.record import from_json, to_json

_log = log.get(__name__)

#: How long a silent worker keeps the lease, and how often it renews it, in seconds. After a kill of all its processes
#: at once, in a container or with its machine, the next worker waits for this long.
LEASE_S: Final = 6.0
RENEW_EVERY_S: Final = 2.0
#: Between two attempts to acquire a lease that another has, in seconds.
LOOK_EVERY_S: Final = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaseHolder:
    """A worker: what distinguishes it from all others, and how to find out whether it still lives."""

    token: str
    pid: int
    #: When that process was started, in the kernel's ticks; empty where there is no ``/proc``.
    started: str
    #: The boot of a machine and the container in which ``pid`` means something.
    space: str
    #: For people: what the machine or container is called.
    machine: str

    @classmethod
    def this_process(cls) -> LeaseHolder:
        """This process."""
        pid = os.getpid()
        return cls(
            token=uuid.uuid4().hex, pid=pid, started=_start_of(pid), space=_pid_space(), machine=socket.gethostname()
        )

    def is_dead(self) -> bool:
        """Whether it is known to have ended. Only a process in the same container can know."""
        here = _pid_space()
        return bool(here) and self.space == here and _start_of(self.pid) != self.started


class DeviceLease:
    """This worker's lease of a device."""

    def __init__(self, client: redis.Redis, device_id: str, *, on_lost: Callable[[], None]) -> None:
        """``on_lost`` is called, from a thread, when another worker has taken the device over."""
        self._device = device_id
        self._lease = Lease(client, keys.acts(device_id), lease_s=LEASE_S, token=to_json(LeaseHolder.this_process()))
        self._on_lost = on_lost
        self._renewal = Renewal(self._renew, every_s=RENEW_EVERY_S, key=self._lease.key)

    def acquire(self) -> None:
        """Acquire the lease as soon as an earlier holder is silent, and keep it from then on.

        Raises:
            DeviceTaken: another worker has the device, and is alive.
        """
        try:
            self._acquire()
        except RedisUnavailable as exc:
            _log.warning("started_without_redis", reason=str(exc))
        self._renewal.start()

    def release(self) -> None:
        """Release the lease for the next worker."""
        self._renewal.stop(LEASE_S)
        with contextlib.suppress(RedisUnavailable):
            self._lease.release()

    def _acquire(self) -> None:
        until_s = time.monotonic() + LEASE_S + RENEW_EVERY_S
        while (holder := self._lease.hold()) != self._lease.token:
            if _parse_holder(holder).is_dead():
                self._lease.hold(replace=holder)
            elif time.monotonic() > until_s:
                raise self._taken_by(holder)
            else:
                time.sleep(LOOK_EVERY_S)

    def _renew(self) -> bool:
        holder = self._lease.hold()
        if holder == self._lease.token:
            return True
        error = self._taken_by(holder)
        _log.error(error.code, device=self._device, reason=error.detail)
        self._on_lost()
        return False

    def _taken_by(self, holder: str) -> DeviceTaken:
        other = _parse_holder(holder)
        return DeviceTaken(
            f"The device {self._device!r} is taken: process {other.pid} on {other.machine!r} runs it and is alive. "
            "Give each worker its own STENTOR_HOST, or another --device."
        )


def _parse_holder(who: str) -> LeaseHolder:
    return from_json(LeaseHolder, who)


def _start_of(pid: int) -> str:
    """When a process was started, field 22 of ``/proc/<pid>/stat``; empty if it has ended."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        # A zombie has ended, although its parent has not waited for it yet.
        return "" if fields[0] == "Z" else fields[19]
    return ""


def _pid_space() -> str:
    """The machine's boot and the container in which process ids are valid; empty if that is unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - not a path that is opened
    return ""
