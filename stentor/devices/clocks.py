"""How the clocks of devices are, as the scheduler of each host last wrote it down."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.redis.record import from_json, to_json

#: Without a word for so long a scheduler is not there, in seconds; it writes every 5.
BOARD_GOOD_FOR_S: Final = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClocksReport:
    """The clocks of one device's GPU, and what else NVML told of it."""

    #: ``low``, ``normal`` or ``unavailable``.
    state: str
    #: When they became so, seconds since the epoch; None if they were never touched.
    since: float | None
    #: Why they are so, in words.
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
    """What the schedulers of all hosts wrote.

    Raises:
        RedisUnavailable: from both methods, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def of(self, hosts: Iterable[str]) -> dict[str, ClocksReport]:
        """The reports of these hosts' devices, by id; a device that no scheduler tells of is left out."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for host in hosts:
                pipe.hgetall(keys.keeper(host))
            found = {device: raw for answer in pipe.execute() for device, raw in text_map(answer).items()}
        reports = ((device, _report(raw)) for device, raw in found.items())
        return {device: report for device, report in reports if report is not None}

    def write(self, host: str, reports: Mapping[str, ClocksReport]) -> None:
        """Put these in place of what was written of a host."""
        key = keys.keeper(host)
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(key)
            if reports:
                told = {device: to_json(report) for device, report in reports.items()}
                pipe.hset(key, mapping=told)  # type: ignore[arg-type]
                pipe.expire(key, BOARD_GOOD_FOR_S)
            pipe.execute()


def _report(raw: str) -> ClocksReport | None:
    """None for what a scheduler of another release says in another way."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return from_json(ClocksReport, raw)
    return None
