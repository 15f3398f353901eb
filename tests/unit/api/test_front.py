"""How the front reads bodies and sends answers, without a server."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from api.front import body as bodies
from api.front.body import Body, Message, Receive, read_body
from api.front.client import HttpClient
from api.front.wsgi import PIECE_BYTES, WsgiCall, environ_of
from api.waiting.slots import WaitSlots
from stentor.errors import BodyBroken, BodyTooSlow

SCOPE: dict[str, Any] = {
    "method": "GET",
    "path": "/v1/jobs/é",
    "query_string": b"wait=1",
    "http_version": "1.1",
    "headers": [],
}


def messages(*found: Message) -> Receive:
    left = list(found)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def read(*found: Message, declared: int | None = None, limit: int = 10) -> Body:
    return asyncio.run(read_body(messages(*found), declared=declared, limit=limit))


def test_a_body_is_read_as_a_whole() -> None:
    body = read(piece(b"he", more=True), piece(b"llo", more=False))
    assert (body.file.read(), body.size) == (b"hello", 5)
    body.close()


def test_a_body_over_the_limit_is_counted_and_cannot_be_read() -> None:
    body = read(piece(b"hello ", more=True), piece(b"world", more=False))
    assert body.size == 11
    with pytest.raises(RequestEntityTooLarge):
        body.file.read()


def test_of_a_body_that_declares_to_be_far_too_large_nothing_is_read() -> None:
    body = read(declared=2**40)
    assert body.size == 2**40
    with pytest.raises(RequestEntityTooLarge):
        body.file.read(1)


def test_a_body_that_stops_coming_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "FIRST_S", 0.05)
    with pytest.raises(BodyTooSlow, match="too slowly"):
        read(piece(b"he", more=True))


def test_a_body_that_ends_early_is_broken() -> None:
    with pytest.raises(BodyBroken):
        read(piece(b"he", more=True), {"type": "http.disconnect"})


def test_a_large_body_comes_as_it_was_sent() -> None:
    data = bytes(range(256)) * 4096
    pieces = [piece(data[at : at + 2**16], more=True) for at in range(0, len(data), 2**16)]
    found = read(*pieces, piece(b"", more=False), limit=2**21)
    assert found.file.read() == data
    found.close()


def test_what_proxies_say_is_only_a_header() -> None:
    headers = [
        (b"x-forwarded-proto", b"https"),
        (b"script_name", b"/evil"),
        (b"host", b"api"),
        (b"content-length", b"9"),
    ]
    environ = environ_of({**SCOPE, "headers": headers}, read_nothing())
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
    assert environ["HTTP_HOST"] == "api"
    assert environ["CONTENT_LENGTH"] == "0"
    assert environ["PATH_INFO"] == "/v1/jobs/é".encode().decode("latin-1")


def sent_by(app: Any, *, slow_s: float = 0.0) -> list[Message]:
    """What is sent for an answer of ``app``; each message takes the client ``slow_s``."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(slow_s)
        sent.append(message)

    async def call() -> None:
        with ThreadPoolExecutor(1) as pool:
            await WsgiCall(app, environ_of(SCOPE, read_nothing()), pool).answer(send)

    asyncio.run(call())
    return sent


def read_nothing() -> Body:
    return Body(file=io.BytesIO(), size=0)


class Answer:
    """An answer in pieces that knows whether it was closed."""

    def __init__(self, *pieces: bytes, fails: bool = False) -> None:
        self._pieces, self._fails = pieces, fails
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._fails:
            raise OSError("the storage went away")

    def close(self) -> None:
        self.closed = True


def app_with(answer: Answer) -> Callable[..., Answer]:
    def app(environ: dict[str, Any], start_response: Any) -> Answer:
        start_response("201 Created", [("X-A", "b")])
        return answer

    return app


def test_an_answer_is_sent_and_closed() -> None:
    answer = Answer(b"he", b"llo")
    start, only = sent_by(app_with(answer))
    assert (start["status"], start["headers"]) == (201, [(b"x-a", b"b")])
    assert (only["body"], only["more_body"]) == (b"hello", False)
    assert answer.closed


def test_a_large_answer_comes_in_pieces() -> None:
    answer = Answer(b"a" * PIECE_BYTES, b"b" * PIECE_BYTES, b"c")
    sent = sent_by(app_with(answer))[1:]
    assert [len(message["body"]) for message in sent] == [PIECE_BYTES, PIECE_BYTES, 1]
    assert answer.closed


def test_an_answer_that_breaks_off_is_closed() -> None:
    answer = Answer(b"a" * PIECE_BYTES, fails=True)
    with pytest.raises(OSError, match="went away"):
        sent_by(app_with(answer))
    assert answer.closed


def test_a_client_that_reads_slowly_holds_no_thread() -> None:
    busy = []

    async def send_slowly(message: Message) -> None:
        # The only thread is free while the client reads.
        busy.append(await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, lambda: False), 5))

    async def call() -> None:
        answer = Answer(*[b"a" * PIECE_BYTES] * 3)
        await WsgiCall(app_with(answer), environ_of(SCOPE, read_nothing()), pool).answer(send_slowly)

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(call())
    assert busy == [False] * 5


def test_a_client_that_leaves_is_noticed_by_the_thread_that_waits() -> None:
    woken = threading.Event()

    async def call() -> bool:
        client = HttpClient(messages({"type": "http.disconnect"}), asyncio.get_running_loop())
        client.watch(woken.set)
        until = time.monotonic() + 5
        while not client.has_left and time.monotonic() < until:
            await asyncio.sleep(0.01)
        client.forget()
        return client.has_left

    assert asyncio.run(call())
    assert woken.is_set()


def test_waits_are_a_part_of_the_threads_and_of_one_key_a_part_of_that() -> None:
    slots = WaitSlots(8)
    with slots.slot("a") as one, slots.slot("a") as two, slots.slot("a") as three, slots.slot("a") as four:
        assert (one, two, three, four) == (True, True, True, True)
        with slots.slot("a") as five, slots.slot("b") as other, slots.slot("c") as another, slots.slot("d") as last:
            assert (five, other, another, last) == (False, True, True, False)
    with slots.slot("d") as again:
        assert again
