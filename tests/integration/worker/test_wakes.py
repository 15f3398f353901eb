"""A device that works again tells its scheduler, and waits for nothing."""

from __future__ import annotations

import threading

import redis

from stentor.devices.registry import DeviceRegistry, DeviceState
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from tests.support.stacks.stack import eventually
from worker.claiming.claims import Claims
from worker.device.heartbeat import Heartbeat
from worker.device.status import StatusBoard
from worker.device.wakes import KEPT, report_wake

DEVICE = "testhost/cuda:0"


def test_the_scheduler_of_the_host_is_told(client: redis.Redis) -> None:
    report_wake(client, DEVICE, "testhost")
    assert client.lrange(keys.wakes("testhost"), 0, -1) == [DEVICE]
    assert 0 < client.ttl(keys.wakes("testhost")) <= 60


def test_what_nobody_reads_does_not_grow(client: redis.Redis) -> None:
    for _ in range(KEPT + 5):
        report_wake(client, DEVICE, "testhost")
    assert client.llen(keys.wakes("testhost")) == KEPT


def test_a_redis_that_is_away_is_only_logged(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1")})
    report_wake(connect(away, retries=0), DEVICE, "testhost")


def test_the_batch_does_not_wait_for_the_telling(client: redis.Redis, settings: Settings) -> None:
    told, may_go_on = threading.Event(), threading.Event()
    seen: list[str] = []
    registry = DeviceRegistry(client, lease_s=60)

    def woke() -> None:
        seen.append(registry.get(DEVICE).state)
        told.set()
        may_go_on.wait(30)

    board = StatusBoard(DEVICE, models=("joe",))
    heartbeat = Heartbeat(board, registry, Claims(client, settings, DEVICE), list, lease_s=60, on_wake=woke)
    heartbeat.start()
    board.set(state=DeviceState.IDLE)
    board.set(state=DeviceState.BUSY)
    assert told.wait(30)
    board.set(state=DeviceState.IDLE, model="joe")
    assert board.status.model == "joe"
    assert seen == [DeviceState.BUSY], "the scheduler that is told looks at once, and must find it busy"
    may_go_on.set()
    eventually(lambda: registry.get(DEVICE).state == DeviceState.IDLE)
