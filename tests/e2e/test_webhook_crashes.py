"""An io worker that is killed in the middle of its webhooks: every one arrives all the same."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from standardwebhooks import Webhook

from stentor import keys
from stentor.redis_client import connect
from stentor.webhook_store import WebhookStore
from stentor.webhooks import Endpoint, new_endpoint_id
from tests.integration.test_webhooks_storm import percentile, settle
from tests.receivers import LOOPBACK, Handler, Received, receiver
from tests.rooms import Rooms, rooms_apart
from tests.stack import eventually

pytestmark = pytest.mark.faults

EVENTS = 600
#: An attempt's time in these tests, in seconds. What was on its way in a killed process comes again 5 s after that.
TIMEOUT_S = 2


@pytest.fixture
def rooms(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    near, logs = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("logs")
    environ = {"STENTOR_WEBHOOK_ALLOW": LOOPBACK, "STENTOR_WEBHOOK_TIMEOUT_S": str(TIMEOUT_S)}
    with rooms_apart(near, logs, **environ) as made:
        yield made


def kill_all(rooms: Rooms) -> None:
    """SIGKILL for the io worker and the processes that it started."""
    children = psutil.Process(rooms.running["io"].pid).children(recursive=True)
    for child in children:
        child.kill()
    rooms.kill("io")
    psutil.wait_procs(children, timeout=10)


def test_a_killed_io_worker_loses_no_webhook_and_changes_no_id(rooms: Rooms) -> None:
    def how(handler: Handler, request: Received) -> None:
        time.sleep(0.03)
        handler.answer(200)

    with receiver(how) as slow, receiver() as quick, contextlib.closing(connect(rooms.settings)) as client:
        store = WebhookStore(client, keep_s=3600)
        secrets = {
            there.url: store.add(Endpoint(id=new_endpoint_id(), owner="acme", url=there.url)).signing.secret
            for there in (slow, quick)
        }
        rooms.start("io")
        settled: dict[str, float] = {}

        def happen() -> None:
            for number in range(EVENTS):
                settled[settle(client, number)] = time.time()
                time.sleep(0.01)

        happening = threading.Thread(target=happen)
        happening.start()

        eventually(lambda: len(slow.ids()) > 50)
        (child,) = psutil.Process(rooms.running["io"].pid).children()
        os.kill(child.pid, signal.SIGKILL)
        eventually(lambda: len(slow.ids()) > 200)
        kill_all(rooms)
        assert client.zcard(keys.DUE_ENDPOINTS) > 0 or client.xlen(keys.OUTBOX) > 0
        rooms.start("io")
        happening.join()

        for there in (slow, quick):
            eventually(lambda there=there: len(there.ids()) == EVENTS, 90)  # type: ignore[misc]
            heard: dict[str, set[str]] = {}
            for one in there.received:
                told = Webhook(secrets[there.url]).verify(one.body, one.headers)
                heard.setdefault(told["data"]["id"], set()).add(one.id)
            assert set(heard) == set(settled)
            assert all(len(ids) == 1 for ids in heard.values())
            twice = len(there.received) - EVENTS
            delays = [one.at - settled[json.loads(one.body)["data"]["id"]] for one in there.received]
            print(f"\n{twice} came twice; P99 {percentile(delays, 0.99):.1f} s, worst {max(delays):.1f} s")
            assert twice <= 2 * rooms.settings.webhook_concurrency
        eventually(lambda: client.zcard(keys.DUE_ENDPOINTS) == 0)
        # What a killed courier had written and not taken out is looked at once more, and changes nothing.
        eventually(lambda: client.xlen(keys.OUTBOX) == 0)
