"""An io worker that is killed in the middle of its webhooks: every one arrives all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from pydantic import SecretStr
from standardwebhooks import Webhook

from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.webhooks.store import WebhookStore
from stentor.webhooks.webhook import Endpoint, new_endpoint_id
from tests.conftest import Measured
from tests.integration.worker.webhooks.test_webhooks_storm import Moody, percentile, settle
from tests.support.servers.receivers import LOOPBACK, Handler, Received, Receiver, receiver
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import Stack, eventually

pytestmark = pytest.mark.faults

EVENTS, RATE = 1200, 50
#: Of the storm about a whole `stentor up`.
STORM = 2000
#: An attempt's time in these tests, in seconds.
TIMEOUT_S = 2
#: Healthy endpoints' delay while an io worker of two is killed, in seconds.
P99_S = 2.0


@pytest.fixture
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    near, logs = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")
    environ = {"STENTOR_WEBHOOK_ALLOW": LOOPBACK, "STENTOR_WEBHOOK_TIMEOUT_S": str(TIMEOUT_S)}
    with rooms_apart(near, logs, **environ) as made:
        yield made


def kill(rooms: Rooms, name: str) -> None:
    """SIGKILL for an io worker and the processes that it started."""
    children = psutil.Process(rooms.running[name].pid).children(recursive=True)
    for child in children:
        child.kill()
    rooms.kill(name)
    psutil.wait_procs(children, timeout=10)


class Happening:
    """Outcomes at a steady rate, and when each came."""

    def __init__(self, client: redis.Redis, count: int) -> None:
        self.settled: dict[str, float] = {}
        self._client, self._count = client, count
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        for number in range(self._count):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            self.settled[settle(self._client, number)] = time.time()

    def over(self) -> dict[str, float]:
        self._thread.join()
        return self.settled


def heard(there: Receiver, secret: str, settled: dict[str, float], measured: Measured) -> list[float]:
    """The delays of all events, each of which came, verifies, and has one id however often it came."""
    eventually(lambda: len(there.ids()) == len(settled), 90)
    ids: dict[str, set[str]] = {}
    first: dict[str, float] = {}
    for one in there.received:
        job_id = Webhook(secret).verify(one.body, one.headers)["data"]["id"]
        ids.setdefault(job_id, set()).add(one.id)
        first.setdefault(job_id, one.at - settled[job_id])
    assert set(ids) == set(settled)
    assert all(len(found) == 1 for found in ids.values())
    delays = list(first.values())
    twice = len(there.received) - len(settled)
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    measured(f"{twice} came twice; P50 {p50:.3f} s, P99 {p99:.2f} s, worst {max(delays):.1f} s")
    return delays


def slowly(handler: Handler, request: Received) -> None:
    time.sleep(0.03)
    handler.answer(200)


def secret_of(store: WebhookStore, there: Receiver) -> str:
    return store.add(Endpoint(id=new_endpoint_id(), owner="acme", url=there.url)).signing.secret


@pytest.mark.slow
@pytest.mark.alone
def test_in_stentor_up_nobody_notices_that_an_io_worker_is_killed(
    programs: None, tmp_path: Path, measured: Measured
) -> None:
    """Beside a receiver that fails at random and one that hangs; its own retries follow a schedule of a day."""
    moody = Moody(5)
    stack = Stack(tmp_path, {"STENTOR_WEBHOOK_ALLOW": LOOPBACK, "STENTOR_WEBHOOK_TIMEOUT_S": str(TIMEOUT_S)})
    settings = Settings(redis_url=SecretStr(stack.run.redis_url))
    try:
        with (
            receiver() as quick,
            receiver(slowly) as slow,
            receiver(moody) as bad,
            receiver(lambda handler, _: time.sleep(3)) as silent,
            contextlib.closing(connect(settings)) as client,
        ):
            store = WebhookStore(client, keep_s=3600)
            made = {there: store.add(Endpoint(id=new_endpoint_id(), owner="acme", url=there.url)) for there in
                    (quick, slow, bad, silent)}  # fmt: skip
            happening = Happening(client, STORM)
            for share, name in ((0.25, "io"), (0.5, "io-2"), (0.75, "io")):
                eventually(lambda share=share: len(quick.ids()) > STORM * share, 60)  # type: ignore[misc]
                os.kill(stack.run.processes[name], signal.SIGKILL)
            settled = happening.over()
            for there in (quick, slow):
                assert percentile(heard(there, made[there].signing.secret, settled, measured), 0.99) < P99_S
            for there in (bad, silent):
                # All of it is there and comes when it is due.
                page = store.deliveries(made[there], limit=STORM + 1).deliveries
                assert len(page) == STORM
                assert {one.state for one in page} <= {"pending", "succeeded"}
                assert there.ids() <= {one.event for one in page}
    finally:
        stack.stop()


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_io_worker_of_two_changes_nothing_for_who_listens(rooms: Rooms, measured: Measured) -> None:
    with receiver(slowly) as slow, receiver() as quick, contextlib.closing(connect(rooms.settings)) as client:
        store = WebhookStore(client, keep_s=3600)
        secrets = {there: secret_of(store, there) for there in (slow, quick)}
        rooms.start("io")
        rooms.start("io2", like="io", STENTOR_HOST="other")
        eventually(lambda: client.exists(keys.OUTBOX) and len(client.xinfo_consumers(keys.OUTBOX, keys.COURIERS)) == 2)
        happening = Happening(client, EVENTS)
        eventually(lambda: len(quick.ids()) > EVENTS / 4)
        (child,) = psutil.Process(rooms.running["io2"].pid).children()
        child.kill()
        eventually(lambda: len(quick.ids()) > EVENTS / 2)
        kill(rooms, "io")
        settled = happening.over()
        for there, secret in secrets.items():
            delays = heard(there, secret, settled, measured)
            assert percentile(delays, 0.99) < P99_S


@pytest.mark.slow
@pytest.mark.alone
def test_an_only_io_worker_that_is_killed_and_comes_back_loses_nothing(rooms: Rooms, measured: Measured) -> None:
    with receiver(slowly) as slow, receiver() as quick, contextlib.closing(connect(rooms.settings)) as client:
        store = WebhookStore(client, keep_s=3600)
        secrets = {there: secret_of(store, there) for there in (slow, quick)}
        rooms.start("io")
        happening = Happening(client, 500)
        eventually(lambda: len(slow.ids()) > 100)
        kill(rooms, "io")
        settled = happening.over()
        assert len(slow.ids()) < 500
        rooms.start("io")
        for there, secret in secrets.items():
            heard(there, secret, settled, measured)
        # What a killed courier had written and not taken out is looked at once more, and changes nothing.
        eventually(lambda: client.xlen(keys.OUTBOX) == 0 and client.zcard(keys.DUE_ENDPOINTS) == 0)
