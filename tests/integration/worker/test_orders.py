"""What the leader does about residency, on a real Redis: orders are given once, holds end, and doorbells ring."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from scheduler.leading import Leader
from scheduler.plan import Plan, Want
from scheduler.residency.orders import Orders, ring_count
from scheduler.waiting import claimable
from stentor.devices.overrides import RESIDENT
from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.doorbell import LOAD, SYNTHESIS_QUEUE, UNLOAD, Doorbell, create_celery, device_queue
from stentor.errors import RedisUnavailable
from stentor.jobs.lanes import Lane, LaneState
from stentor.redis import keys
from stentor.settings import Settings
from tests.support.speech.factories import TONE, a_job
from tests.support.stacks.stack import eventually
from tests.support.work.device import Bench
from worker.claiming.choice import choose
from worker.device.holds import HoldWatcher

NOW = 1_800_000_000.0


def a_status(name: str = "testhost/cpu", *, state: str = DeviceState.IDLE, **fields: Any) -> DeviceStatus:
    model = None if state == DeviceState.UNLOADED else TONE
    given = {"pid": 7, "models": (TONE,), "model": model, "started_at": NOW - 99, "seen_at": NOW, **fields}
    return DeviceStatus(id=name, state=state, **given)


def a_plan(
    residency: str | None, *names: str, held: frozenset[str] = frozenset(), lanes: Sequence[LaneState] = ()
) -> Plan:
    want = Want(residency=residency, residency_reason="a window", clocks=None, clocks_reason="no GPU")
    return Plan(
        wants=dict.fromkeys(names or ("testhost/cpu",), want),
        held=held,
        held_reason="a window",
        waiting=claimable(NOW, lanes, held),
    )


def waiting(priority: str = "standard", *, oldest_wait_s: float = 0.0, held: bool = False) -> LaneState:
    return LaneState(
        lane=Lane(model=TONE, priority=priority, length=0), waiting=3, oldest_at=NOW - oldest_wait_s, held=held
    )


def sent(client: redis.Redis, queue: str = device_queue("testhost/cpu")) -> list[str]:
    """Names of the tasks that lie in a queue, the one that is heard first last."""
    return [json.loads(str(raw))["headers"]["task"] for raw in client.lrange(keys.queue(queue), 0, -1)]


def rung(client: redis.Redis) -> int:
    return int(client.llen(keys.queue(SYNTHESIS_QUEUE)))


@pytest.fixture
def token(client: redis.Redis) -> int:
    found = Leader(client, "testhost").token()
    assert found is not None
    return found


@pytest.fixture
def orders(client: redis.Redis, settings: Settings) -> Callable[[], Orders]:
    """Makes the orders of one more scheduler."""
    return lambda: Orders(client, Doorbell(create_celery(settings), client), settings)


@pytest.fixture
def one(orders: Callable[[], Orders]) -> Orders:
    return orders()


def test_an_idle_device_is_told_to_unload_once(client: redis.Redis, one: Orders, token: int) -> None:
    for _ in range(3):
        one.act(a_plan(DeviceState.UNLOADED), [a_status()], token, NOW)
    assert sent(client) == [UNLOAD]


def test_two_schedulers_that_take_turns_at_leading_tell_a_device_once(
    client: redis.Redis, orders: Callable[[], Orders]
) -> None:
    leaders = [Leader(client, "one"), Leader(client, "two")]
    for leader in leaders * 2:
        orders().act(a_plan(DeviceState.UNLOADED), [a_status()], leader.token(), NOW)
        leader.resign()
    assert sent(client) == [UNLOAD]


def test_a_scheduler_that_no_longer_leads_orders_nothing_holds_nothing_and_ends_no_hold(
    client: redis.Redis, orders: Callable[[], Orders], token: int
) -> None:
    bulk = frozenset({"bulk"})
    orders().act(a_plan(None, held=bulk), [a_status()], token, NOW)
    for late in (token - 1, None):
        orders().act(a_plan(DeviceState.UNLOADED), [a_status()], late, NOW)
        orders().act(a_plan(DeviceState.UNLOADED, held=frozenset({"standard"})), [a_status()], late, NOW)
    assert sent(client) == []
    assert client.smembers(keys.HELD) == {"bulk"}


@pytest.mark.parametrize(
    "state", [DeviceState.BUSY, DeviceState.STARTING, DeviceState.FAILED, DeviceState.GONE, DeviceState.UNLOADED]
)
def test_only_an_idle_device_is_told_to_unload(client: redis.Redis, one: Orders, token: int, state: str) -> None:
    one.act(a_plan(DeviceState.UNLOADED), [a_status(state=state)], token, NOW)
    assert sent(client) == []


def test_a_device_that_has_spoken_since_is_told_anew(client: redis.Redis, one: Orders, token: int) -> None:
    for spoke_at in (None, NOW, NOW, NOW + 60):
        one.act(a_plan(DeviceState.UNLOADED), [a_status(spoke_at=spoke_at)], token, NOW)
    assert sent(client) == [UNLOAD] * 3


def test_an_order_whose_message_is_lost_is_given_again(client: redis.Redis, one: Orders, token: int) -> None:
    one.act(a_plan(DeviceState.UNLOADED), [a_status()], token, NOW)
    assert 50_000 < client.pttl(keys.last_order("testhost/cpu")) <= 60_000
    client.delete(keys.last_order("testhost/cpu"))
    one.act(a_plan(DeviceState.UNLOADED), [a_status()], token, NOW)
    assert sent(client) == [UNLOAD] * 2


def test_an_unloaded_device_is_told_to_load_once_and_one_that_speaks_is_left_alone(
    client: redis.Redis, one: Orders, token: int
) -> None:
    for state in (DeviceState.UNLOADED, DeviceState.UNLOADED, DeviceState.BUSY, DeviceState.IDLE):
        one.act(a_plan(RESIDENT), [a_status(state=state)], token, NOW)
    assert sent(client) == [LOAD]
    assert rung(client) == 0


def test_a_device_is_left_as_it_is_when_nothing_is_wanted_of_it(client: redis.Redis, one: Orders, token: int) -> None:
    one.act(a_plan(None), [a_status(), a_status(state=DeviceState.UNLOADED)], token, NOW)
    one.act(a_plan(DeviceState.UNLOADED, "another/cpu"), [a_status()], token, NOW)
    assert sent(client) == []


def test_for_work_that_waits_the_doorbell_rings_instead_of_an_order_to_load(
    client: redis.Redis, one: Orders, token: int
) -> None:
    one.act(a_plan(RESIDENT, lanes=[waiting()]), [a_status(state=DeviceState.UNLOADED)], token, NOW)
    assert sent(client) == []
    assert sent(client, SYNTHESIS_QUEUE) == ["stentor.synthesize"]


def test_no_more_doorbells_ring_than_devices_can_hear(client: redis.Redis, one: Orders, token: int) -> None:
    names = ["one/cpu", "two/cpu", "three/cpu"]
    client.sadd(keys.DEVICES, *names)
    asleep = [a_status(name, state=DeviceState.UNLOADED) for name in names]
    for _ in range(3):
        one.act(a_plan(RESIDENT, *names, lanes=[waiting(oldest_wait_s=9)]), asleep, token, NOW)
    assert rung(client) == 3


def test_of_many_devices_some_are_told_each_tick(client: redis.Redis, one: Orders, token: int) -> None:
    names = [f"gpu-{number}/cuda:0" for number in range(40)]
    counts = []
    for _ in range(3):
        one.act(a_plan(DeviceState.UNLOADED, *names), [a_status(name) for name in names], token, NOW)
        counts.append(sum(len(sent(client, device_queue(name))) for name in names))
    assert counts == [32, 40, 40]


def test_what_is_held_stays_so_only_while_a_scheduler_says_so(client: redis.Redis, one: Orders, token: int) -> None:
    bulk = frozenset({"bulk"})
    one.act(a_plan(None, held=bulk, lanes=[waiting("bulk", oldest_wait_s=99)]), [a_status()], token, NOW)
    assert client.smembers(keys.HELD) == {"bulk"}
    assert 10_000 < client.pttl(keys.HELD) <= 15_000
    client.pexpire(keys.HELD, 3000)
    one.act(a_plan(None, held=bulk, lanes=[waiting("bulk", oldest_wait_s=99, held=True)]), [a_status()], token, NOW)
    assert client.pttl(keys.HELD) > 10_000
    assert rung(client) == 0


def test_no_more_devices_are_woken_than_texts_wait_and_those_that_load_already_count() -> None:
    names = [f"testhost/cuda:{number}" for number in range(8)]
    plan = a_plan(RESIDENT, *names, lanes=[waiting("interactive")])  # three texts
    asleep = [a_status(name, state=DeviceState.UNLOADED) for name in names]
    loading = [a_status(name, state=DeviceState.UNLOADED, loading_at=NOW) for name in names[:2]]
    assert ring_count(plan.wants, asleep, plan.waiting) == 3
    assert ring_count(plan.wants, [*loading, *asleep[2:]], plan.waiting) == 1
    assert (
        ring_count(plan.wants, [*loading, a_status(names[2], state=DeviceState.BUSY, loading_at=NOW)], plan.waiting)
        == 0
    )
    assert ring_count(plan.wants, asleep[:2], plan.waiting) == 2
    assert ring_count(plan.wants, asleep, {}) == 0


def test_orders_that_could_not_be_sent_are_sent_by_the_next_tick(
    client: redis.Redis, orders: Callable[[], Orders], token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"testhost/cuda:{number}" for number in range(4)]
    plan, statuses = a_plan("unloaded", *names), [a_status(name) for name in names]
    send, given = Doorbell.order, list[str]()

    def away_after_one(self: Doorbell, task: str, device_id: str, **rest: str) -> None:
        if given:
            raise RedisUnavailable("the broker is away")
        given.append(device_id)
        send(self, task, device_id, **rest)

    first = orders()
    with monkeypatch.context() as patch:
        patch.setattr(Doorbell, "order", away_after_one)
        with pytest.raises(RedisUnavailable):
            first.act(plan, statuses, token, NOW)
    first.act(plan, statuses, token, NOW + 1)
    assert [len(sent(client, device_queue(name))) for name in names] == [1, 1, 1, 1]


def test_when_a_hold_ends_the_doorbell_rings_for_every_live_device(
    client: redis.Redis, one: Orders, token: int
) -> None:
    names = ["one/cpu", "two/cpu", "gone/cpu"]
    client.sadd(keys.DEVICES, *names)
    devices = [
        a_status("one/cpu"),
        a_status("two/cpu", state=DeviceState.UNLOADED),
        a_status("gone/cpu", state=DeviceState.GONE),
    ]
    held = [waiting("bulk", oldest_wait_s=1, held=True)]
    one.act(a_plan(None, *names, held=frozenset({"bulk"}), lanes=held), devices, token, NOW)
    assert rung(client) == 0
    one.act(a_plan(None, *names, lanes=held), devices, token, NOW)
    assert not client.exists(keys.HELD)
    assert rung(client) == 2


def test_held_work_is_no_reason_to_ring_and_none_against_loading(client: redis.Redis, one: Orders, token: int) -> None:
    late = waiting("bulk", oldest_wait_s=700)
    plan = a_plan(RESIDENT, held=frozenset({"bulk"}), lanes=[late])
    one.act(plan, [a_status(state=DeviceState.UNLOADED)], token, NOW)
    assert rung(client) == 0
    assert sent(client) == [LOAD]


def test_what_was_not_heard_is_rung_for_again(client: redis.Redis, one: Orders, token: int) -> None:
    one.act(a_plan(None, lanes=[waiting(oldest_wait_s=4.9)]), [a_status()], token, NOW)
    assert rung(client) == 0
    one.act(a_plan(None, lanes=[waiting(oldest_wait_s=5.1)]), [a_status()], token, NOW)
    assert rung(client) == 1


@pytest.mark.parametrize(("loading", "rings"), [(2, 1), (3, 0)])
def test_for_texts_whose_models_are_being_loaded_nobody_else_is_woken(
    client: redis.Redis, one: Orders, token: int, loading: int, rings: int
) -> None:
    """Three texts wait."""
    asleep = a_status("testhost/cuda:9", state=DeviceState.UNLOADED)
    busy = [a_status(f"testhost/cuda:{n}", state=DeviceState.UNLOADED, loading_at=NOW - 20) for n in range(loading)]
    one.act(a_plan(None, lanes=[waiting(oldest_wait_s=20)]), [*busy, asleep], token, NOW)
    assert rung(client) == rings


def test_the_policys_words_are_shown_while_a_scheduler_is_there(client: redis.Redis, one: Orders, token: int) -> None:
    one.act(a_plan(DeviceState.UNLOADED), [a_status()], token, NOW)
    shown = json.loads(client.hget(keys.WANTS, "testhost/cpu") or "")
    assert shown == {
        "residency": "unloaded", "residency_reason": "a window", "clocks": None, "clocks_reason": "no GPU",
    }  # fmt: skip
    assert 0 < client.ttl(keys.WANTS) <= 15


# --- what devices make of it


def test_held_bulk_is_not_claimed_while_interactive_texts_are(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.client.sadd(keys.HELD, "bulk")
    held, urgent = bench.submit(a_job("Later.", priority="bulk"), a_job("Now.", priority="interactive"))
    assert bench.run() is False
    assert [bench.now(job).state for job in (held, urgent)] == ["queued", "succeeded"]
    bench.client.delete(keys.HELD)
    bench.run()
    assert bench.now(held).state == "succeeded"


def test_an_unloaded_device_is_not_woken_by_held_work_however_old_it_is(make: Callable[..., Bench]) -> None:
    bench = make(bulk_max_wait_s=1e-6)
    bench.client.sadd(keys.HELD, "bulk")
    bench.submit(a_job(priority="bulk"))
    assert bench.run() is False
    assert (bench.engine.loads, bench.engine.batches) == (0, [])
    assert bench.residency.light
    late = LaneState(lane=Lane(model=TONE, priority="bulk", length=0), waiting=1, oldest_at=NOW - 1e6, held=True)
    assert choose(NOW, [late], speaks=[TONE], resident=[], max_wait_s=600) == []


def test_a_hold_that_expires_is_rung_for_by_the_devices_that_met_it(client: redis.Redis) -> None:
    rings: list[bool] = []
    watcher = HoldWatcher(client, lambda: rings.append(True))
    client.sadd(keys.HELD, "bulk")
    client.pexpire(keys.HELD, 300)
    watcher.watch()
    watcher.watch()
    client.pexpire(keys.HELD, 400)
    assert rings == []
    eventually(lambda: rings, 5)
    assert not client.exists(keys.HELD)
    assert len(rings) == 1


def test_an_order_says_which_process_was_seen_and_when_it_spoke_last(
    client: redis.Redis, one: Orders, token: int
) -> None:
    registry = DeviceRegistry(client, lease_s=60)
    registry.report(a_status(spoke_at=NOW + 0.1234567))
    (seen,) = registry.list(NOW)
    one.act(a_plan(DeviceState.UNLOADED), [seen], token, NOW)
    assert client.get(keys.last_order("testhost/cpu")) == f"stentor.unload 7 {NOW + 0.1234567!r}"
