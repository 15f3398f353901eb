"""One attempt, against receivers that behave well and badly, over real connections."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from stentor.webhooks.addresses import networks
from tests.support.servers.receivers import LOOPBACK, Handler, Received, receiver
from worker.webhooks.sending import ReceiverResponse, Sender, signature_headers

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = json.dumps({"type": "job.succeeded", "data": {"name": "Ünïcode 🎉"}}, ensure_ascii=False)


def send(url: str, *, timeout_s: float = 5.0, secrets: tuple[str, ...] = (SECRET,)) -> ReceiverResponse:
    sender = Sender(timeout_s=timeout_s, allow=networks(LOOPBACK))
    return sender.send(url, message_id="msg_1", body=BODY, secrets=secrets)


def answers(status: int, **headers: str) -> Callable[[Handler, Received], None]:
    return lambda handler, _: handler.answer(status, **headers)


@contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what no HTTP server does."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connected, _ = listening.accept()
                threading.Thread(target=attend, args=(connected,), daemon=True).start()

    def attend(connected: socket.socket) -> None:
        with connected, suppress(OSError):
            serve(connected)

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    listening.close()


def drips(head: bytes) -> Callable[[socket.socket], None]:
    """Sends a byte every 50 ms for ever, and so is never silent."""

    def serve(connected: socket.socket) -> None:
        connected.recv(65_536)
        connected.sendall(head)
        for _ in range(1200):
            connected.sendall(b"a")
            time.sleep(0.05)

    return serve


def test_what_arrives_verifies_with_the_public_library() -> None:
    with receiver() as there:
        answer = send(there.url)
        assert (answer.status, answer.error, answer.retry_after_s) == (200, None, 0)
        (came,) = there.received
    assert came.body.decode() == BODY
    assert Webhook(SECRET).verify(came.body, came.headers) == json.loads(BODY)
    assert came.headers["webhook-id"] == "msg_1"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["user-agent"].startswith("Stentor/")
    tampered = came.body.replace(b"succeeded", b"failed")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(tampered, came.headers)


def test_during_a_rotation_both_secrets_verify() -> None:
    headers = signature_headers("msg_1", BODY, [SECRET, OTHER], datetime.now(UTC))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    with receiver(answers(status)) as there:
        answer = send(there.url)
    assert (answer.status, answer.error) == (status, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with receiver() as elsewhere, receiver(answers(status, Location=elsewhere.url)) as there:
        answer = send(there.url)
        assert (answer.status, answer.error) == (status, f"answered {status}; redirects are not followed")
        assert (elsewhere.received, elsewhere.followed, there.followed) == ([], 0, 0)


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_other_statuses_are_failures(status: int) -> None:
    with receiver(answers(status)) as there:
        answer = send(there.url)
    assert (answer.status, answer.error, answer.gone) == (status, f"answered {status}", status == 410)


@pytest.mark.parametrize(("status", "pause_s"), [(429, 30), (503, 30), (500, 0), (200, 0)])
def test_a_pause_can_be_asked_for_with_429_and_503(status: int, pause_s: float) -> None:
    with receiver(answers(status, Retry_After="30")) as there:
        assert send(there.url).retry_after_s == pause_s


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 "],
    ids=["status", "header", "100"],
)
def test_a_receiver_that_drips_has_no_more_time_than_others(head: bytes) -> None:
    with raw(drips(head)) as url:
        answer = send(url, timeout_s=0.5)
    assert (answer.status, answer.error) == (None, "no answer within 0.5 s")
    assert answer.took_s < 5


def test_a_receiver_that_drips_its_body_has_answered() -> None:
    with raw(drips(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
        answer = send(url, timeout_s=0.5)
    assert (answer.status, answer.error) == (200, None)
    assert answer.took_s < 5


def test_a_receiver_that_drips_its_tls_handshake_has_no_more_time_than_others() -> None:
    with raw(drips(b"\x16\x03\x03\x40\x00")) as url:
        answer = send(url.replace("http:", "https:"), timeout_s=0.5)
    assert answer.status is None
    assert answer.took_s < 5


def test_a_receiver_that_is_silent_is_given_up() -> None:
    with raw(lambda connected: time.sleep(10)) as url:
        answer = send(url, timeout_s=0.3)
    assert answer.error == "no answer within 0.3 s"


def test_an_endless_body_is_not_read() -> None:
    sent = []

    def serve(connected: socket.socket) -> None:
        connected.recv(65_536)
        connected.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
        for _ in range(1000):
            connected.sendall(b"a" * 2**20)
            sent.append(2**20)

    with raw(serve) as url:
        answer = send(url, timeout_s=5)
    assert answer.status == 302
    assert answer.took_s < 5
    assert sum(sent) < 100 * 2**20


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99999 Odd\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
    ],
    ids=["nothing", "bytes", "no-status", "odd-status", "ssh", "long-header", "many-headers"],
)
def test_garbage_is_a_failure_with_a_sentence(said: bytes) -> None:
    def serve(connected: socket.socket) -> None:
        connected.recv(65_536)
        connected.sendall(said)

    with raw(serve) as url:
        answer = send(url)
    assert answer.status is None
    assert answer.error
    assert len(answer.error) <= 300


def test_a_receiver_whose_certificate_nobody_vouches_for_gets_nothing() -> None:
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "self_signed.pem")

    def serve(connected: socket.socket) -> None:
        with context.wrap_socket(connected, server_side=True) as wrapped:
            heard.append(wrapped.recv(65_536))

    with raw(serve) as url:
        answer = send(url.replace("http:", "https:"))
    assert answer.status is None
    assert "CERTIFICATE_VERIFY_FAILED" in (answer.error or "")
    assert heard == []


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("localhost", None)])
def test_a_certificate_must_be_that_of_the_host_in_the_url(
    host: str, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address that was looked up; what the certificate must name is the host."""
    pem = Path(__file__).parent / "self_signed.pem"
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def serve(connected: socket.socket) -> None:
        with context.wrap_socket(connected, server_side=True) as wrapped:
            wrapped.recv(65_536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            # A connection that is closed before all was read is reset, and the answer may be lost.
            while wrapped.recv(65_536):
                pass

    with raw(serve) as url:
        answer = send(url.replace("http:", "https:").replace("127.0.0.1", host))
    assert answer.status == status
    assert status or "hostname 'localhost' doesn't match '127.0.0.1'" in (answer.error or "")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as there:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert send(there.url).status == 200
        assert (len(there.received), proxy.received) == (1, [])
