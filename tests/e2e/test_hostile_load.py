"""Clients that take all the connections, threads and time that they can get: the API goes on answering the others."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from stentor.owners.access import READ, KeyStore
from stentor.redis.client import connect
from tests.conftest import register_voice
from tests.support.stacks.rooms import Rooms, rooms_apart
from tests.support.stacks.stack import eventually

pytestmark = [pytest.mark.faults, pytest.mark.alone]

#: How often the API is probed during a load, and the longest that a probe may take.
PROBE_EVERY_S, PROBE_S = 0.2, 1.0
#: How long each load lasts.
loads = pytest.mark.parametrize("load_s", [5.0, pytest.param(30.0, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    folder = tmp_path_factory.mktemp("api")
    with (
        rooms_apart(folder / "near", folder, STENTOR_DEFAULT_VOICE="joe") as rooms,
        contextlib.closing(connect(rooms.settings)) as client,
    ):
        register_voice(client, "joe")
        rooms.start("api")
        eventually(rooms.listens)
        yield rooms


class Connections:
    """Many connections to the API, which are all closed at the end."""

    def __init__(self, api: Rooms, count: int, first: bytes) -> None:
        self._address = ("127.0.0.1", api.port)
        self._first = first
        self._open = [self._connect() for _ in range(count)]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=10)
        connection.sendall(self._first)
        connection.setblocking(False)
        return connection

    def drip(self, byte: bytes) -> None:
        """Send a byte more on each; one that the API has closed is opened anew."""
        for at, connection in enumerate(self._open):
            try:
                connection.send(byte)
            except BlockingIOError:
                pass
            except OSError:
                connection.close()
                self._open[at] = self._connect()

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def probes_beside(api: Rooms, load: Callable[[], None], load_s: float) -> list[float]:
    """How long probes and submissions take while ``load`` is called again and again."""
    over = threading.Event()
    thread = threading.Thread(target=lambda: _repeat(load, over))
    thread.start()
    try:
        return _probe(api, time.monotonic() + load_s)
    finally:
        over.set()
        thread.join()


def _repeat(load: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(0.5):
        load()


def _probe(api: Rooms, until: float) -> list[float]:
    probes: tuple[Callable[[], httpx.Response], ...] = (lambda: api.http("GET", "/healthz"), lambda: _submit(api))
    took = []
    while time.monotonic() < until:
        for act in probes:
            began = time.monotonic()
            assert act().status_code in {200, 202}
            took.append(time.monotonic() - began)
        time.sleep(PROBE_EVERY_S)
    return took


def _submit(api: Rooms) -> httpx.Response:
    return api.http("POST", "/v1/jobs", json={"text": f"Parcel {time.time_ns()} is here."})


@loads
def test_slow_heads_without_a_key_delay_nobody(api: Rooms, load_s: float) -> None:
    with contextlib.closing(Connections(api, 400, b"POST /v1/jobs HTTP/1.1\r\nHost: api\r\nX-Slow: ")) as slow:
        assert max(probes_beside(api, lambda: slow.drip(b"a"), load_s)) < PROBE_S


@loads
def test_slow_bodies_with_a_key_delay_nobody(api: Rooms, load_s: float) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {api.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    )
    with contextlib.closing(Connections(api, 400, head.encode())) as slow:
        assert max(probes_beside(api, lambda: slow.drip(b" "), load_s)) < PROBE_S


@loads
def test_silent_connections_delay_nobody(api: Rooms, load_s: float) -> None:
    with contextlib.closing(Connections(api, 2000, b"")):
        assert max(probes_beside(api, lambda: None, load_s)) < PROBE_S


@loads
def test_waits_of_one_key_delay_nobody_and_end_when_their_clients_leave(api: Rooms, load_s: float) -> None:
    with contextlib.closing(connect(api.settings)) as client:
        reader = KeyStore(client).create(owner="acme", name="reader", scopes=[READ])
    job_id = _submit(api).json()["id"]
    head = f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {reader}\r\n\r\n"
    with contextlib.closing(Connections(api, 200, head.encode())):
        assert max(probes_beside(api, lambda: None, load_s)) < PROBE_S
        assert _in_flight(api) > 10
    eventually(lambda: _in_flight(api) <= 1, timeout_s=5)
    assert not api.errors("api")


def _in_flight(api: Rooms) -> float:
    found = re.search(r"^stentor_http_requests_in_flight (\S+)$", api.http("GET", "/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def raw(api: Rooms, request: bytes) -> tuple[int, bytes]:
    """The status and the rest of the answer to bytes that no client library sends."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer[9:12]), answer


def head_of(api: Rooms, *lines: str) -> bytes:
    known = ("POST /v1/jobs HTTP/1.1", "Host: api", f"Authorization: Bearer {api.key}", "Connection: close")
    return "\r\n".join([*known, "Content-Type: application/json", *lines, "", ""]).encode()


def test_a_chunked_body_over_the_limit_is_too_large_whatever_its_beginning_says(api: Rooms) -> None:
    limit = api.settings.max_body_bytes
    body = b'{"text": "hello"}'.ljust(limit) + b"garbage"
    pieces = [body[at : at + 2**20] for at in range(0, len(body), 2**20)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    status, answer = raw(api, head_of(api, "Transfer-Encoding: chunked") + chunked)
    assert (status, b"body_too_large" in answer) == (413, True)


def test_a_broken_chunk_size_is_the_clients_error(api: Rooms) -> None:
    status, answer = raw(api, head_of(api, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n")
    assert (status, b"body_broken" in answer) == (400, True)


def test_a_large_body_without_a_key_is_not_read(api: Rooms) -> None:
    status, _ = raw(api, b"POST /v1/bulks HTTP/1.1\r\nHost: api\r\nContent-Length: 900000000\r\n\r\n")
    assert status == 401


def test_headers_of_a_proxy_are_believed_by_nobody(api: Rooms) -> None:
    text = b'{"text": "hello"}'
    claims = ("SCRIPT_NAME: /evil", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil")
    status, answer = raw(api, head_of(api, *claims, f"Content-Length: {len(text)}") + text)
    assert status == 202
    assert b"evil" not in answer
    assert b"https" not in answer


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(api: Rooms) -> None:
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(head_of(api, "Content-Length: 1000") + b"{")
    assert _submit(api).status_code == 202
    assert not api.errors("api")


def test_speech_that_nobody_waits_for_any_more_is_canceled(api: Rooms) -> None:
    body = b'{"model": "tts-1", "voice": "joe", "input": "Is anybody there?"}'
    head = head_of(api, f"Content-Length: {len(body)}").replace(b"/v1/jobs", b"/v1/audio/speech")
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(head + body)
        job = eventually(lambda: _jobs(api, "queued", "Is anybody there?"))
    eventually(lambda: _jobs(api, "canceled", "Is anybody there?") == job, timeout_s=10)


def _jobs(api: Rooms, state: str, text: str) -> list[str]:
    jobs = api.http("GET", f"/v1/jobs?state={state}").json()["jobs"]
    return [job["id"] for job in jobs if job["text_chars"] == len(text) and job["priority"] == "interactive"]


def test_a_log_line_of_the_server_is_an_event(api: Rooms, tmp_path: Path) -> None:
    assert api.foreign_lines()["api"] == []


def test_when_the_first_process_is_killed_the_others_end(api: Rooms) -> None:
    # The last test: it leaves no API.
    others = psutil.Process(api.running["api"].pid).children()
    assert others
    api.kill("api")
    _, alive = psutil.wait_procs(others, timeout=15)
    assert alive == []
