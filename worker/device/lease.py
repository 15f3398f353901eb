"""DeviceLease for a device: one worker at a time does, and another that was given the same name is told so.

The worker's parent holds the place, not the process that speaks: that one may be replaced, or hang for minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import redis

from stentor import log
from stentor.errors import DeviceTaken, RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors, script
from stentor.redis.record import from_json, to_json

_log = log.get(__name__)

#: How long a worker that is not heard of keeps its place, and how often it says that it is there, in seconds. After a
#: kill of all its processes at once, in a container or with its machine, the next one waits for so long.
GOOD_FOR_S: Final = 6.0
RENEW_EVERY_S: Final = 2.0
#: Between two looks at a place that is taken, in seconds.
LOOK_EVERY_S: Final = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaseHolder:
    """A worker, by what tells it from all others and whether it still lives."""

    token: str
    pid: int
    #: When that process was started, in the kernel's ticks; empty where there is no ``/proc``.
    started: str
    #: The boot of a machine and the container in which ``pid`` means something.
    space: str
    #: For people: what the machine or container is called.
    machine: str

    @classmethod
    def me(cls) -> LeaseHolder:
        """This process."""
        pid = os.getpid()
        return cls(token=uuid.uuid4().hex, pid=pid, started=_started(pid), space=_space(), machine=socket.gethostname())

    def is_dead(self) -> bool:
        """Whether it is known to have ended, which only who shares its container can tell."""
        here = _space()
        return bool(here) and self.space == here and _started(self.pid) != self.started


class DeviceLease:
    """This worker's place as the one that acts for a device."""

    def __init__(self, client: redis.Redis, device_id: str, *, lost: Callable[[], None]) -> None:
        """``lost`` is called, from a thread, when another worker has taken the place meanwhile."""
        self._device = device_id
        self._key = keys.acts(device_id)
        self._me = to_json(LeaseHolder.me())
        self._act = script(client, "leases/hold")
        self._lost = lost
        self._over = threading.Event()
        self._keeper: threading.Thread | None = None

    def begin(self) -> None:
        """Take the place, once whoever may have had it is silent; and keep it from then on.

        Raises:
            DeviceTaken: another worker acts for the device, and is alive.
        """
        try:
            self._take()
        except RedisUnavailable as exc:
            _log.warning("started_without_redis", reason=str(exc))
        self._keeper = threading.Thread(target=self._keep, name="acting", daemon=True)
        self._keeper.start()

    def end(self) -> None:
        """Leave the place to the next one."""
        self._over.set()
        if self._keeper:
            # It may just be saying that this one goes on.
            self._keeper.join(GOOD_FOR_S)
        with contextlib.suppress(RedisUnavailable):
            self._asked(0)

    def _take(self) -> None:
        until_s = time.monotonic() + GOOD_FOR_S + RENEW_EVERY_S
        while (who := self._asked(GOOD_FOR_S)) != self._me:
            if _read(who).is_dead():
                self._asked(GOOD_FOR_S, instead_of=who)
            elif time.monotonic() > until_s:
                raise self._taken(who)
            else:
                time.sleep(LOOK_EVERY_S)

    def _keep(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            with contextlib.suppress(RedisUnavailable):
                who = self._asked(GOOD_FOR_S)
                if who != self._me and not self._over.is_set():
                    error = self._taken(who)
                    _log.error(error.code, device=self._device, reason=error.detail)
                    self._lost()
                    return

    def _asked(self, good_for_s: float, *, instead_of: str = "") -> str:
        with redis_errors():
            return str(self._act(keys=[self._key], args=[self._me, round(good_for_s * 1000), instead_of]))

    def _taken(self, who: str) -> DeviceTaken:
        other = _read(who)
        return DeviceTaken(
            f"the device {self._device!r} is taken: process {other.pid} on {other.machine!r} acts for it and is alive; "
            "give each worker a STENTOR_HOST of its own, or another --device"
        )


def _read(who: str) -> LeaseHolder:
    return from_json(LeaseHolder, who)


def _started(pid: int) -> str:
    """When a process was started, field 22 of ``/proc/<pid>/stat``; empty if it has ended."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        # One that nobody has waited for yet does nothing any more.
        return "" if fields[0] == "Z" else fields[19]
    return ""


def _space() -> str:
    """Where process ids mean what they mean here; empty where that cannot be told."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it is no path that is read
    return ""
