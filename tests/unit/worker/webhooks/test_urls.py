"""Where webhooks may be sent to: every private form is refused, at submission and when connecting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stentor.errors import UrlInvalid, UrlRefused
from stentor.webhooks import addresses
from stentor.webhooks.webhook import check_url
from tests.support.servers.receivers import LOOPBACK, receiver
from worker.webhooks.sending import Sender

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "93.184.215.14"

#: Forms of addresses that are not public. None of them may be reached by anybody's webhook.
PRIVATE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "https://127.255.255.254/",
    "http://127.1/",
    "http://0/",
    "http://0.0.0.0:8080/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://１２７.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://localhost/",
    "http://LOCALHOST:80/",
    "http://localhost./",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://app.localhost/",
    "http://10.0.0.1/",
    "http://0xa.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://3232235777/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xA9FEA9FE/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://169.254.170.2/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://[::ffff:168.63.129.16]/",
    "http://161.26.0.10/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[2001:db8::1]/",
    "http://[2001:20::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
]

NO_URLS = [
    "",
    "hooks.example.com",
    "//hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "javascript:alert(1)",
    "http://",
    "http:///path",
    "http://?x",
    "http://.",
    "http://a..example.com/",
    "http://-a.example.com/",
    "http://exa mple.com/",
    "http://example.com/a b",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\r\nHost: internal",
    "http://example.com/\x00",
    "http://me@example.com/",
    "http://me:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com/#top",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:http/",
    "http://[::1/",
    "http://[fe80::z]/",
    "http://%31%32%37.0.0.1/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://0x/",
    "http://example.0x7f/",
    "http://example.com/ü",
    "http://" + "a" * 64 + ".example.com/",
    "http://example.com/" + "a" * 2048,
]


@pytest.fixture(autouse=True)
def _nobody_remembers_names() -> Iterator[None]:
    addresses._known.clear()
    yield
    addresses._known.clear()


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let names have these addresses, one answer after the other; which names were asked for."""
    asked: list[str] = []
    left = list(answers)
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *rest: Any, **more: Any) -> Any:
        if addresses.literal(host) is not None:
            return real(host, port, *rest, **more)
        asked.append(host)
        address = left.pop(0) if len(left) > 1 else left[0]
        return real(address, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_is_refused_in_every_form(url: str) -> None:
    with pytest.raises(UrlRefused, match="not a public address"):
        check_url(url, None)


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_of_a_receiver_is_refused_as_such(url: str) -> None:
    with pytest.raises(UrlInvalid):
        check_url(url, "0.0.0.0/0,::/0")


@pytest.mark.parametrize("url", PRIVATE)
def test_the_same_address_is_refused_when_connecting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connects(*args: object, **more: object) -> None:
        raise AssertionError("it was connected to")

    monkeypatch.setattr(socket.socket, "connect", connects)
    answer = Sender(timeout_s=2, allow=()).send(url, message_id="msg_1", body="{}", secrets=[SECRET])
    assert answer.status is None
    assert answer.error is not None


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://10.1.2.3:8080/hook", "10.1.0.0/16"),
        ("http://localhost/", LOOPBACK),
        ("http://[fd12::1]/", "10.0.0.0/8, fd12::/16"),
        ("http://[::ffff:10.1.2.3]/", "10.1.0.0/16"),
        ("https://93.184.215.14/", None),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", None),
    ],
)
def test_public_addresses_and_allowed_networks_are_accepted(url: str, allow: str | None) -> None:
    check_url(url, allow)


def test_a_network_that_is_allowed_allows_no_other() -> None:
    with pytest.raises(UrlRefused):
        check_url("http://10.2.0.1/", "10.1.0.0/16")


def test_a_name_is_refused_if_one_of_its_addresses_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: object, **more: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in (PUBLIC, "10.0.0.5")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(UrlRefused, match=r"hooks\.example\.com is 10\.0\.0\.5"):
        check_url("https://hooks.example.com/", None)


def test_a_name_that_does_not_resolve_may_do_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: object, **more: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    check_url("https://not-yet.example.com/", None)
    answer = Sender(timeout_s=2, allow=()).send(
        "https://not-yet.example.com/", message_id="msg_1", body="{}", secrets=[SECRET]
    )
    assert answer.status is None
    assert answer.error == "the name of the receiver does not resolve"


def test_a_name_server_that_hangs_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()

    def getaddrinfo(*args: object, **more: object) -> Any:
        hangs.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    started = time.monotonic()
    check_url("https://slow.example.com/", None, until=started + 0.1)
    assert time.monotonic() - started < 5
    hangs.set()


def test_a_name_that_changes_its_address_after_it_was_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as inside:
        asked = resolver(monkeypatch, PUBLIC, "127.0.0.1")
        url = inside.url.replace("127.0.0.1", "rebinds.example.com")
        check_url(url, None)
        answer = Sender(timeout_s=2, allow=()).send(url, message_id="msg_1", body="{}", secrets=[SECRET])
        assert asked == ["rebinds.example.com", "rebinds.example.com"]
        assert (
            answer.error
            == "127.0.0.1 is not a public address. STENTOR_WEBHOOK_ALLOW lists private networks that are allowed."
        )
        assert inside.received == []


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has a good address when it is looked up, and another one whenever it is looked up again."""
    with receiver() as wanted:
        asked = resolver(monkeypatch, "127.0.0.1", "127.0.0.2")
        url = wanted.url.replace("127.0.0.1", "rebinds.example.com")
        answer = Sender(timeout_s=2, allow=addresses.networks("127.0.0.1/32")).send(
            url, message_id="msg_1", body="{}", secrets=[SECRET]
        )
        assert asked == ["rebinds.example.com"]
        assert (answer.status, answer.error) == (200, None)
        port = url.split(":")[2].partition("/")[0]
        assert wanted.received[0].headers["host"] == f"rebinds.example.com:{port}"
