"""Two workers of one device's name: the second is refused by name, and takes nothing from the first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from stentor.errors import DeviceTaken
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.redis.record import from_json, to_json
from stentor.settings import Settings
from tests.support.stacks.stack import eventually
from worker.device import lease
from worker.device.lease import DeviceLease, LeaseHolder

DEVICE = "worker-0/cuda:0"


@pytest.fixture
def make(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DeviceLease]]:
    monkeypatch.setattr(lease, "LEASE_S", 0.6)
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    made: list[DeviceLease] = []

    def build(lost: Callable[[], None] = lambda: None) -> DeviceLease:
        made.append(DeviceLease(client, DEVICE, on_lost=lost))
        return made[-1]

    yield build
    for one in made:
        one.release()


def holder(client: redis.Redis) -> LeaseHolder | None:
    told = client.get(keys.acts(DEVICE))
    return from_json(LeaseHolder, str(told)) if told else None


def test_a_second_worker_of_the_same_name_is_refused(client: redis.Redis, make: Callable[..., DeviceLease]) -> None:
    make().acquire()
    first = holder(client)
    with pytest.raises(DeviceTaken, match=r"The device 'worker-0/cuda:0' is taken: process .* Give each worker"):
        make().acquire()
    assert holder(client) == first


def test_one_that_stops_in_order_leaves_the_place_at_once(
    client: redis.Redis, make: Callable[..., DeviceLease]
) -> None:
    first = make()
    first.acquire()
    first.release()
    assert holder(client) is None
    make().acquire()
    assert holder(client) is not None


@pytest.mark.parametrize(
    ("space", "silent_s", "least_s", "most_s"),
    [("here", 60.0, 0.0, 30.0), ("another container", 0.6, 0.4, 30.0)],
)
def test_one_that_was_killed_is_followed_when_it_is_known_to_be_dead(
    client: redis.Redis, make: Callable[..., DeviceLease], space: str, silent_s: float, least_s: float, most_s: float
) -> None:
    """At once where its process can be looked for; elsewhere when it has been silent for long enough."""
    me = LeaseHolder.this_process()
    killed = LeaseHolder(
        token="1", pid=4_000_000, started="5", space=me.space if space == "here" else space, machine="worker-0"
    )
    client.set(keys.acts(DEVICE), to_json(killed), px=round(silent_s * 1000))
    began_s = time.monotonic()
    make().acquire()
    assert least_s <= time.monotonic() - began_s < most_s
    found = holder(client)
    assert found is not None
    assert found.pid == me.pid


def test_one_that_was_replaced_while_it_was_frozen_is_told(
    client: redis.Redis, make: Callable[..., DeviceLease]
) -> None:
    lost = threading.Event()
    make(lost.set).acquire()
    other = LeaseHolder(token="2", pid=1, started="5", space="another container", machine="worker-0")
    client.set(keys.acts(DEVICE), to_json(other))
    assert lost.wait(5)


def test_what_redis_has_forgotten_is_said_again(client: redis.Redis, make: Callable[..., DeviceLease]) -> None:
    make().acquire()
    first = holder(client)
    client.flushall()
    eventually(lambda: holder(client) == first)


def test_without_redis_a_worker_starts(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1")})
    one = DeviceLease(connect(away, retries=0), DEVICE, on_lost=lambda: None)
    one.acquire()
    one.release()
