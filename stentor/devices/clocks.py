"""The state of the devices' clocks, as the scheduler of each host wrote it last."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.redis.record import from_json, to_json

#: A scheduler that has not written for this long counts as absent, in seconds; it writes every 5.
BOARD_GOOD_FOR_S: Final = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClocksReport:
    """The clocks of one device's GPU, and other readings of NVML."""

    #: ``low``, ``normal`` or ``unavailable``.
    state: str
    #: Time of the last change, seconds since the epoch; None if they were never changed.
    since: float | None
    #: The reason, in words.
    reason: str
    gpu: str | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    #: Processes of an unloaded device that still hold a context on the GPU.
    context_left: tuple[int, ...] = ()


class ClocksBoard:
    """The reports of the schedulers of all hosts.

    Raises:
        RedisUnavailable: from both methods, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def of(self, hosts: Iterable[str]) -> dict[str, ClocksReport]:
        """The reports of these hosts' devices, by id, without devices that no scheduler reports."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for host in hosts:
                pipe.hgetall(keys.keeper(host))
            found = {device: raw for answer in pipe.execute() for device, raw in text_map(answer).items()}
        reports = ((device, _report(raw)) for device, raw in found.items())
        return {device: report for device, report in reports if report is not None}

    def write(self, host: str, reports: Mapping[str, ClocksReport]) -> None:
        """Replace the reports of a host."""
        key = keys.keeper(host)
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(key)
            if reports:
                lines = {device: to_json(report) for device, report in reports.items()}
                pipe.hset(key, mapping=lines)  # type: ignore[arg-type]
                pipe.expire(key, BOARD_GOOD_FOR_S)
            pipe.execute()


def _report(raw: str) -> ClocksReport | None:
    """The report; None if a scheduler of another release wrote it in another form."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return from_json(ClocksReport, raw)
    return None
