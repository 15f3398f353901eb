"""`stentor webhooks` against an API and a courier that run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from api.app import create_app
from stentor.cli.main import cli
from stentor.settings import Settings
from tests.integration.api.test_openapi import QuietHandler
from tests.support.servers.receivers import LOOPBACK
from tests.support.stacks.stack import eventually
from worker.webhooks.dispatcher import WebhookDispatcher

Run = Callable[..., Result]


@pytest.fixture
def stentor(client: redis.Redis, settings: Settings, api_key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command, as somebody with a key calls it."""
    near = settings.model_copy(update={"webhook_allow": LOOPBACK, "webhook_timeout_s": 2.0})
    server = make_server("127.0.0.1", 0, create_app(near), threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    courier = WebhookDispatcher(near)
    courier.start()
    monkeypatch.setenv("STENTOR_API_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("STENTOR_API_KEY", api_key)

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, ["webhooks", *words])
        assert done.exit_code == code, done.output
        return done

    yield run
    courier.stop()
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def listening(*options: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a `stentor webhooks listen`, and the lines that it prints."""
    command = [sys.executable, "-m", "stentor.cli", "webhooks", "listen", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        yield url, lines
    finally:
        process.terminate()
        process.wait(10)
        reader.join()
        process.stdout.close()


def test_an_endpoint_is_added_pinged_looked_at_replayed_and_deleted(stentor: Run) -> None:
    with listening("--count", "2") as (url, lines):
        webhook_id, secret = stentor("add", url, "--event", "job.failed", "--description", "trial").stdout.split()
        assert secret.startswith("whsec_")
        (shown,) = json.loads(stentor("list", "--json").stdout)["webhooks"]
        assert (shown["id"], shown["events"], shown["description"]) == (webhook_id, ["job.failed"], "trial")
        delivery = stentor("ping", webhook_id).stdout.strip()
        eventually(lambda: "succeeded" in stentor("deliveries", webhook_id).stdout)
        assert stentor("replay", webhook_id, "--delivery", delivery).stdout == "1 will be sent again\n"
        eventually(lambda: len(lines) == 2)
    assert lines[0].startswith("not verified (no --secret)\twebhook.ping\tmsg_")
    assert lines[0] == lines[1]
    eventually(lambda: "succeeded" in stentor("deliveries", webhook_id, "--state", "succeeded").stdout)
    since = stentor("replay", webhook_id, "--since", "2026-01-01T00:00:00Z", "--state", "succeeded")
    assert since.stdout == "1 will be sent again\n"
    stentor("replay", webhook_id, code=2)
    assert stentor("delete", webhook_id).stdout == f"deleted {webhook_id}\n"
    assert json.loads(stentor("list", "--json").stdout)["webhooks"] == []


def test_the_listener_verifies_with_the_secret(stentor: Run, client: redis.Redis) -> None:
    secret = stentor("secret").stdout.strip()
    with listening("--secret", secret, "--count", "2") as (url, lines):
        stentor("add", url)  # signed with another secret
        (one,) = json.loads(stentor("list", "--json").stdout)["webhooks"]
        stentor("ping", one["id"])
        eventually(lambda: len(lines) == 1)
    assert lines[0].startswith("NOT VERIFIED (No matching signature found)\twebhook.ping\t")


def test_a_secret_that_is_none_is_refused(stentor: Run) -> None:
    stentor("listen", "--secret", "hunter2", code=2)
