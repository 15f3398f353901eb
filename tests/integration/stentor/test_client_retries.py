"""The client against an API whose answers get lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import redis
from werkzeug.serving import make_server

from api.app import create_app
from stentor.client import Client, Problem
from stentor.errors import ApiUnavailable
from stentor.owners.access import KeyStore, Limits
from stentor.redis import keys
from stentor.settings import Settings
from tests.conftest import register_voice
from tests.integration.api.test_openapi import QuietHandler

TEXT = "Your parcel arrives on Tuesday."


class Lossy:
    """A WSGI app that does what it is asked, and breaks the connection instead of answering so many times."""

    def __init__(self, app: Any, losses: int) -> None:
        self._app = app
        self.losses = losses
        self.requests = 0

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.requests += 1
        body: Iterable[bytes] = list(self._app(environ, start_response))
        if self.losses > 0:
            self.losses -= 1
            environ["werkzeug.socket"].shutdown(2)
            raise ConnectionError("lost")
        return body


@pytest.fixture
def lossy(client: redis.Redis, settings: Settings) -> Iterator[Callable[[int], tuple[Lossy, str]]]:
    register_voice(client)
    running: list[Any] = []

    def start(losses: int) -> tuple[Lossy, str]:
        app = Lossy(create_app(settings), losses)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return app, f"http://127.0.0.1:{server.port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_submission_whose_answer_is_lost_is_sent_again_and_taken_once(
    lossy: Callable[[int], tuple[Lossy, str]], client: redis.Redis, api_key: str
) -> None:
    app, url = lossy(2)
    with Client(url, api_key) as sender:
        job = sender.submit_job({"text": TEXT})
    assert app.requests == 3
    assert client.zrange(keys.jobs("acme", keys.OPEN), 0, -1) == [job["id"]]


def test_a_cancellation_whose_answer_is_lost_is_not_sent_again(
    lossy: Callable[[int], tuple[Lossy, str]], api_key: str
) -> None:
    app, url = lossy(0)
    with Client(url, api_key) as sender:
        job = sender.submit_job({"text": TEXT})
        app.losses = 1
        with pytest.raises(ApiUnavailable):
            sender.cancel(job["id"])
        assert sender.job(job["id"])["state"] == "canceled"


def test_two_submissions_of_equal_texts_are_two_jobs(lossy: Callable[[int], tuple[Lossy, str]], api_key: str) -> None:
    _, url = lossy(0)
    with Client(url, api_key) as sender:
        assert sender.submit_job({"text": TEXT})["id"] != sender.submit_job({"text": TEXT})["id"]


def test_a_limit_that_ends_tomorrow_is_not_waited_for(
    lossy: Callable[[int], tuple[Lossy, str]], client: redis.Redis
) -> None:
    app, url = lossy(0)
    key = KeyStore(client).create(owner="acme", name="small", limits=Limits(daily_chars=5, rate="1000/hour"))
    with Client(url, key) as sender, pytest.raises(Problem) as raised:
        sender.submit_job({"text": TEXT})
    assert (raised.value.status, raised.value.code, app.requests) == (429, "daily_chars_exceeded", 1)


def test_a_rate_that_soon_allows_more_is_waited_for(
    lossy: Callable[[int], tuple[Lossy, str]], client: redis.Redis
) -> None:
    app, url = lossy(0)
    key = KeyStore(client).create(owner="acme", name="slow", limits=Limits(rate="1/second"))
    with Client(url, key) as sender:
        for _ in range(3):
            sender.voices()
    assert app.requests > 3
