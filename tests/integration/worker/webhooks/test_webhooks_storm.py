"""Webhooks among receivers that fail at random, hang and die, with couriers that are killed: nothing is lost."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from stentor.bulks.bulk import Bulk, BulkState
from stentor.bulks.store import BulkStore
from stentor.jobs.job import new_id
from stentor.jobs.records import job_items
from stentor.redis import keys
from stentor.settings import Settings
from stentor.webhooks.store import WebhookStore
from stentor.webhooks.webhook import Endpoint, new_endpoint_id
from tests.conftest import Measured
from tests.support.servers.receivers import LOOPBACK, Handler, Received, Receiver, receiver
from tests.support.speech.factories import a_job
from tests.support.stacks.stack import eventually
from worker.webhooks.delivery_queue import LEASE_S
from worker.webhooks.dispatcher import WebhookDispatcher
from worker.webhooks.retry_policy import RetryPolicy

#: Events per second. With the tries of who fails that is some 60 requests a second, sent and received by this one
#: process; at 40 events a second a slow machine falls behind. tests/e2e/test_webhook_crashes.py sends more, with
#: processes of their own.
RATE = 15
#: Healthy endpoints' delay, from the outcome to the receiver, in seconds.
P99_S = 2.0
#: The schedule of a day, within seconds.
HASTY = RetryPolicy(attempts_after_s=(0, *[0.2] * 60), give_up_after=8, first_pause_s=0.05, longest_pause_s=0.2)


class Moody:
    """A receiver's ways to fail, drawn anew for every request; seeded, so that a failure can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.moods: Counter[str] = Counter()
        self.accepted: set[str] = set()

    def __call__(self, handler: Handler, request: Received) -> None:
        mood = self._random.choice(
            ["fine", "fine", "fine", "drop", "reset", "half", "slow", "error", "busy", "redirect", "garbage", "hang"]
        )
        self.moods[mood] += 1
        getattr(self, f"_{mood}")(handler)
        if mood in ("fine", "slow"):
            self.accepted.add(request.id)

    def _fine(self, handler: Handler) -> None:
        handler.answer(200)

    def _drop(self, handler: Handler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self, handler: Handler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    def _half(self, handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 20")

    def _slow(self, handler: Handler) -> None:
        time.sleep(self._random.uniform(0.05, 0.25))
        handler.answer(200)

    def _error(self, handler: Handler) -> None:
        handler.answer(self._random.choice([400, 404, 500, 502]))

    def _busy(self, handler: Handler) -> None:
        handler.answer(self._random.choice([429, 503]), Retry_After="0")

    def _redirect(self, handler: Handler) -> None:
        handler.answer(self._random.choice([301, 302, 307, 308]), Location="http://127.0.0.1:1/")

    def _garbage(self, handler: Handler) -> None:
        handler.wfile.write(self._random.randbytes(300))

    def _hang(self, handler: Handler) -> None:
        time.sleep(0.8)


@pytest.fixture
def stormy(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_allow": LOOPBACK, "webhook_timeout_s": 0.5, "webhook_concurrency": 16})


@contextmanager
def couriers(settings: Settings, count: int, policy: RetryPolicy = HASTY) -> Iterator[list[WebhookDispatcher]]:
    made = [WebhookDispatcher(settings, policy=policy) for _ in range(count)]
    for one in made:
        one.start()
    try:
        yield made
    finally:
        for one in made:
            one.stop()


def endpoint(store: WebhookStore, url: str, owner: str = "acme") -> Endpoint:
    return store.add(Endpoint(id=new_endpoint_id(), owner=owner, url=url))


def settle(client: redis.Redis, number: int, owner: str = "acme") -> str:
    """An outcome and its line in the outbox, in one step, as `shared/outcomes.lua` does it."""
    job = a_job(id=new_id(), owner=owner, state="succeeded", settled_at=time.time(), metadata={"n": str(number)})
    pipe = client.pipeline(transaction=True)
    pipe.hset(keys.job(job.id), items=job_items(job))
    pipe.xadd(keys.OUTBOX, {"type": "job.succeeded", "id": job.id, "owner": owner})
    pipe.execute()
    return job.id


def happen(client: redis.Redis, count: int, rate: float = RATE) -> dict[str, float]:
    """So many outcomes at this rate, and when each came."""
    began = time.monotonic()
    settled: dict[str, float] = {}
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        settled[settle(client, number)] = time.time()
    return settled


def jobs_told(there: Receiver, secret: str, *, only: set[str] | None = None) -> dict[str, list[Received]]:
    """What a receiver heard by job, each request verified with the public library. Old ones are verified as of then."""
    heard: dict[str, list[Received]] = defaultdict(list)
    with there.lock:
        came = list(there.received)
    for one in came:
        if only is None or one.id in only:
            told: dict[str, Any] = Webhook(secret).verify(one.body, one.headers)
            heard[told["data"]["id"]].append(one)
    return heard


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_event_arrives_whatever_a_receiver_does_and_others_do_not_wait_for_it(
    client: redis.Redis, stormy: Settings, measured: Measured, count: int
) -> None:
    store = WebhookStore(client, keep_s=3600)
    moody = Moody(4)
    with ExitStack() as stack:
        bad = stack.enter_context(receiver(moody))
        good = [stack.enter_context(receiver()) for _ in range(2)]
        silent = stack.enter_context(receiver(lambda handler, _: time.sleep(3)))
        endpoints = {there.url: endpoint(store, there.url) for there in (bad, *good, silent)}
        stack.enter_context(couriers(stormy, 2))
        settled = happen(client, count)

        for there in good:
            eventually(lambda there=there: len(there.ids()) == count, 60)  # type: ignore[misc]
        eventually(lambda: len(moody.accepted) == count, 180)

        delays = [
            one.at - settled[job_id]
            for there in good
            for job_id, came in jobs_told(there, endpoints[there.url].signing.secret).items()
            for one in came[:1]
        ]
        assert len(delays) == 2 * count
        p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
        measured(f"healthy endpoints: P50 {p50 * 1000:.0f} ms, P99 {p99 * 1000:.0f} ms, worst {max(delays):.2f} s")
        measured(f"the moody one: {len(bad.received)} requests, {dict(moody.moods)}")
        assert p99 < P99_S

        heard = jobs_told(bad, endpoints[bad.url].signing.secret)
        assert set(heard) == set(settled)
        assert all(len({one.id for one in came}) == 1 for came in heard.values())
        assert all(len({one.body for one in came}) == 1 for came in heard.values())
        assert len({came[0].id for came in heard.values()}) == count
        assert bad.followed == 0
        assert min(moody.moods.values()) > count / 20


def test_a_receiver_gets_no_more_at_a_time_than_it_may(client: redis.Redis, settings: Settings) -> None:
    def how(handler: Handler, request: Received) -> None:
        time.sleep(0.05)
        handler.answer(200)

    few = settings.model_copy(update={"webhook_allow": LOOPBACK, "webhook_concurrency": 3})
    with receiver(how) as there, couriers(few, 3):
        endpoint(WebhookStore(client, keep_s=3600), there.url)
        for number in range(60):
            settle(client, number)
        eventually(lambda: len(there.ids()) == 60)
        assert there.most == 3


def test_an_endpoint_that_fails_is_left_alone_and_then_tried_one_at_a_time(
    client: redis.Redis, stormy: Settings
) -> None:
    store = WebhookStore(client, keep_s=3600)
    works = False
    policy = RetryPolicy(attempts_after_s=(0, *[0.01] * 1000), give_up_after=5, first_pause_s=0.2, longest_pause_s=0.4)

    def how(handler: Handler, request: Received) -> None:
        handler.answer(200 if works else 500)

    with receiver(how) as there, couriers(stormy, 2, policy):
        made = endpoint(store, there.url)
        for number in range(100):
            settle(client, number)
        eventually(lambda: len(there.received) >= stormy.webhook_concurrency + 5, 30)
        opened = client.hget(keys.endpoint(made.id), "open_until")
        assert float(str(opened)) > 0
        # Probes come one at a time, with pauses between: with 16 at a time there would be some hundred a second.
        before, began = len(there.received), time.monotonic()
        eventually(lambda: len(there.received) >= before + 4, 30)
        assert time.monotonic() - began > 0.8
        assert {one.state for one in store.deliveries(made, limit=500).deliveries} == {"pending"}
        works = True
        eventually(lambda: len(store.deliveries(made, state="succeeded", limit=500).deliveries) == 100, 30)
        assert client.hget(keys.endpoint(made.id), "failures") is None


def test_a_delivery_fails_after_its_last_attempt_and_not_before(client: redis.Redis, stormy: Settings) -> None:
    store = WebhookStore(client, keep_s=3600)
    with (
        receiver(lambda handler, _: handler.answer(500)) as there,
        couriers(stormy, 1, RetryPolicy(attempts_after_s=(0, 0.05, 0.05), first_pause_s=0.01)),
    ):
        made = endpoint(store, there.url)
        settle(client, 1)
        (failed,) = eventually(lambda: store.deliveries(made, state="failed", limit=5).deliveries)
    assert [line["status"] for line in failed.log] == [500, 500, 500]
    assert (failed.attempts, failed.due_at) == (3, None)
    assert len(there.received) == 3
    assert len(there.ids()) == 1
    assert client.hmget(keys.OUTCOMES, "webhook:pending", "webhook:failed") == ["2", "1"]


def test_a_pause_that_a_receiver_asks_for_is_kept(client: redis.Redis, stormy: Settings) -> None:
    store = WebhookStore(client, keep_s=3600)
    with receiver(lambda handler, _: handler.answer(429, Retry_After="3600")) as there, couriers(stormy, 1):
        made = endpoint(store, there.url)
        settle(client, 1)
        (delivery,) = eventually(lambda: [one for one in store.deliveries(made, limit=5).deliveries if one.log])
    assert delivery.state == "pending"
    assert delivery.due_at is not None
    assert 3590 < delivery.due_at - time.time() < 3610


def test_events_of_before_a_courier_was_there_are_told(client: redis.Redis, stormy: Settings) -> None:
    store = WebhookStore(client, keep_s=3600)
    with receiver() as there:
        endpoint(store, there.url)
        ids = {settle(client, number) for number in range(250)}
        with couriers(stormy, 1):
            eventually(lambda: len(there.ids()) == 250)
    assert {json.loads(one.body)["data"]["id"] for one in there.received} == ids
    assert client.xlen(keys.OUTBOX) == 0


def test_an_event_that_is_fanned_out_twice_is_told_once(client: redis.Redis, stormy: Settings) -> None:
    """As when a courier dies between writing deliveries and taking the event out."""
    store = WebhookStore(client, keep_s=3600)
    with receiver() as there:
        endpoint(store, there.url)
        job_id = settle(client, 1)
        client.xadd(keys.OUTBOX, {"type": "job.succeeded", "id": job_id, "owner": "acme"})
        with couriers(stormy, 2):
            eventually(lambda: there.received and client.xlen(keys.OUTBOX) == 0)
            settle(client, 2)
            eventually(lambda: len(there.ids()) == 2)
    assert len(there.received) == 2


def test_what_a_dead_courier_held_of_the_outbox_is_taken_over(
    client: redis.Redis, stormy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.webhooks.outbox.LOST_AFTER_S", 0.2)
    monkeypatch.setattr("worker.webhooks.outbox.LOOK_FOR_LOST_EVERY_S", 0.1)
    store = WebhookStore(client, keep_s=3600)
    with receiver() as there:
        endpoint(store, there.url)
        settle(client, 1)
        client.xgroup_create(keys.OUTBOX, keys.COURIERS, "0", mkstream=True)
        assert client.xreadgroup(keys.COURIERS, "dead", {keys.OUTBOX: ">"}, count=10)
        with couriers(stormy, 1):
            eventually(lambda: there.received)
    assert len(there.received) == 1


def test_an_event_whose_job_is_gone_holds_nobody(client: redis.Redis, stormy: Settings) -> None:
    store = WebhookStore(client, keep_s=3600)
    with receiver() as there:
        endpoint(store, there.url)
        client.xadd(keys.OUTBOX, {"type": "job.succeeded", "id": "job_gone", "owner": "acme"})
        settle(client, 1)
        with couriers(stormy, 1):
            eventually(lambda: there.received)
            eventually(lambda: client.xlen(keys.OUTBOX) == 0)
    assert len(there.received) == 1


def test_progress_and_end_of_a_bulk_are_told_to_who_wants_them(client: redis.Redis, stormy: Settings) -> None:
    store, bulks = WebhookStore(client, keep_s=3600), BulkStore(client, retention_s=3600)
    with receiver() as own, receiver() as hears, receiver() as chose, couriers(stormy, 1):
        endpoint(store, hears.url)
        store.add(Endpoint(id=new_endpoint_id(), owner="acme", url=chose.url, events=("bulk.progress",)))
        bulk = bulks.create(
            Bulk(
                id="bulk_1", owner="acme", state=BulkState.RUNNING, rows=10, succeeded=4, settled=4, webhook_url=own.url
            )
        )
        client.xadd(keys.OUTBOX, {"type": "bulk.progress", "id": bulk.id, "owner": "acme"})
        eventually(lambda: chose.received)
        bulks.move(bulk.id, "acme", "cancel")
        eventually(lambda: own.received and hears.received)
    assert [json.loads(one.body)["type"] for one in chose.received] == ["bulk.progress"]
    for there in (own, hears):
        (told,) = [json.loads(one.body) for one in there.received]
        assert (told["type"], told["data"]["state"]) == ("bulk.completed", "canceled")
        assert told["data"]["counts"] == {"rows": 10, "succeeded": 4, "failed": 0, "canceled": 6}


def test_a_courier_that_stops_waits_for_what_is_under_way_and_nobody_sends_it_again(
    client: redis.Redis, settings: Settings
) -> None:
    near = settings.model_copy(update={"webhook_allow": LOOPBACK})
    let_go, leaving, staying = threading.Event(), WebhookDispatcher(near), WebhookDispatcher(near)

    def how(handler: Handler, request: Received) -> None:
        let_go.wait(30)
        handler.answer(200)

    with receiver(how) as there:
        store = WebhookStore(client, keep_s=3600)
        made = endpoint(store, there.url)
        leaving.start()
        settle(client, 1)
        eventually(there.ids)
        stop = threading.Thread(target=leaving.stop)
        stop.start()
        staying.start()
        # A claim that nobody renewed would be taken over by now, and stopping is more patient than that.
        time.sleep(LEASE_S + 3)
        assert stop.is_alive()
        let_go.set()
        stop.join(5)
        assert not stop.is_alive()
        [told] = store.deliveries(made, limit=10).deliveries
        staying.stop()
    assert (told.state, told.attempts, len(there.received)) == ("succeeded", 1, 1)
