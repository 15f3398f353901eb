"""Devices as the rest of the cluster sees them: the last report of each, and whether it is gone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, cast

import redis

from stentor import log
from stentor.errors import DeviceNotFound
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list
from stentor.redis.record import from_json, to_json

_log = log.get(__name__)


class DeviceState(StrEnum):
    """What a device is doing; ``gone`` is said of one whose process has not reported for the length of a lease."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    UNLOADED = "unloaded"
    FAILED = "failed"
    GONE = "gone"


#: Upper ends of the classes in which passes are counted, by their rows and by their time in seconds; the last class has
#: no end. Prometheus's histograms are made of them.
SIZE_CLASSES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
TIME_CLASSES_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Number of characters that are logged of an unreadable report.
SHOWN: Final = 200
#: States in which a device takes work, now or after it has loaded a model.
LIVE: Final = frozenset({DeviceState.IDLE, DeviceState.BUSY, DeviceState.UNLOADED})


def device_id(host: str, device: str) -> str:
    """The device's id, also its name as a consumer of lanes: ``<host>/<device>``."""
    return f"{host}/{device}"


def host_of(device_id: str) -> str:
    """The host of a device."""
    return device_id.partition("/")[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """The report of a device's process. Times are seconds since the epoch."""

    id: str
    pid: int
    state: str
    #: Models that could be loaded here.
    models: tuple[str, ...] = ()
    #: The resident model, if any.
    model: str | None = None
    started_at: float
    seen_at: float
    #: When ``state`` changed last.
    state_at: float = 0.0
    #: When the resident model was loaded, how long that took in seconds, and when it last spoke.
    loaded_at: float | None = None
    load_s: float | None = None
    spoke_at: float | None = None
    #: Since when a model is being loaded; None if none is.
    loading_at: float | None = None
    #: Its machine, where hosts are not machines (``STENTOR_NODE``).
    node: str | None = None
    #: The GPU's NVML UUID; None for a device that is no GPU, or where NVML does not answer.
    gpu: str | None = None
    #: What went wrong, while ``state`` is ``failed``.
    error: str | None = None
    #: Forward passes of this process. The following fields count them, too, and start at zero with each process.
    batches: int = 0
    #: Rows in them, and their cost with and without padding, in the engine's own unit.
    rows: int = 0
    cost: float = 0.0
    padded_cost: float = 0.0
    #: Passes by ``SIZE_CLASSES`` and by ``TIME_CLASSES_S``.
    sizes: tuple[int, ...] = (0,) * (len(SIZE_CLASSES) + 1)
    times: tuple[int, ...] = (0,) * (len(TIME_CLASSES_S) + 1)
    #: Model -> the sums of ``stentor.devices.passes``, from which the cost curve of its passes is fitted.
    sums: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    #: Audio made by this process, in seconds.
    audio_s: float = 0.0
    #: Time spent in forward passes by this process, in seconds.
    busy_s: float = 0.0

    @property
    def machine(self) -> str:
        """The machine whose scheduler sets this device's clocks and bills it."""
        return self.node or host_of(self.id)


class DeviceRegistry:
    """The reports of all devices.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, lease_s: float) -> None:
        self._client = client
        self._lease_s = lease_s
        self._reports = script(client, "devices/reports")
        #: Reasons of unreadable reports that were logged.
        self._logged: set[str] = set()

    def report(self, status: DeviceStatus) -> None:
        """Store a device's report."""
        # One JSON text, because a scheduler reads a thousand of them each second. Scripts read only ``seen_at``.
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(keys.device(status.id), mapping={"seen_at": status.seen_at, "report": to_json(status)})
            pipe.sadd(keys.DEVICES, status.id)
            pipe.execute()

    def list(self, now_s: float | None = None) -> list[DeviceStatus]:
        """All devices that ever reported, by id; a device that was silent for a lease is ``gone``.

        An unreadable report is skipped and logged once.
        """
        now_s = time.time() if now_s is None else now_s
        with redis_errors():
            # In one round trip. SORT with GET would do as well, but needs the right to read every key.
            answer = self._reports(args=[keys.DEVICES])
        reports = text_list(cast("list[object]", answer))
        return sorted(self._readable(filter(None, reports), now_s), key=lambda status: status.id)

    def get(self, wanted: str) -> DeviceStatus:
        """The last report of a device.

        Raises:
            DeviceNotFound: no device with this id ever reported.
        """
        with redis_errors():
            report = cast("str | None", self._client.hget(keys.device(wanted), "report"))
        if report is None:
            raise DeviceNotFound(f"Unknown device {wanted!r}. Call GET /v1/devices for all devices.")
        return self._status(report, time.time())

    def _readable(self, reports: Iterable[str], now_s: float) -> Iterator[DeviceStatus]:
        """The readable reports. An unreadable one, as of a later release, must not hide the others."""
        for report in reports:
            try:
                yield self._status(report, now_s)
            except ValueError as exc:
                if (reason := str(exc)) not in self._logged:
                    self._logged.add(reason)
                    _log.error("report_unreadable", reason=reason, report=report[:SHOWN])

    def _status(self, report: str, now_s: float) -> DeviceStatus:
        status = from_json(DeviceStatus, report)
        silent = now_s - status.seen_at > self._lease_s
        return dataclasses.replace(status, state=DeviceState.GONE) if silent else status
