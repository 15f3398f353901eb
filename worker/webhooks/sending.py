"""One attempt: a signed POST to an address that was looked up once, checked, and is the one that is called."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from standardwebhooks import Webhook
from urllib3.connection import HTTPConnection, HTTPSConnection

from stentor.webhooks.addresses import Address, Network, is_permitted, literal
from worker.webhooks.retry_policy import retry_after_s
from worker.webhooks.watchdog import Limit, Watchdog

#: Bytes of an answer's body that are read, so that its sender sees no broken connection; they are not used.
BODY_BYTES: Final = 4096
USER_AGENT: Final = f"Stentor/{importlib.metadata.version('stentor')} (webhooks)"
#: What receivers ask for a pause with.
PAUSES: Final = frozenset({429, 503})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReceiverResponse:
    """How an attempt went."""

    status: int | None = None
    #: Why it was no success; None if it was one.
    error: str | None = None
    #: The pause that the receiver asked for, in seconds.
    retry_after_s: float = 0.0
    took_s: float

    @property
    def gone(self) -> bool:
        """Whether the receiver says that it wants no more, ever."""
        return self.status == 410


class Sender:
    """Sends webhooks. Safe for threads.

    Every attempt has a connection of its own: one that was kept may have been closed by the receiver a moment ago, and
    the attempt would be lost with it.
    """

    def __init__(self, *, timeout_s: float, allow: Sequence[Network]) -> None:
        self._timeout_s = timeout_s
        self._allow = tuple(allow)
        self._watchdog = Watchdog()
        # It warns of addresses that are allowed, too; what is refused stands in the delivery's log, and in ours.
        logging.getLogger("requests_hardened.ip_filter").setLevel(logging.ERROR)
        self._config = Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=(timeout_s, timeout_s),
            user_agent_override=USER_AGENT,
        )

    def send(self, url: str, *, message_id: str, body: str, secrets: Sequence[str]) -> ReceiverResponse:
        """One attempt. It takes no longer than the timeout, the time for looking up a name aside."""
        headers = signature_headers(message_id, body, secrets, datetime.now(UTC))
        started = time.monotonic()
        with self._watchdog.limit(self._timeout_s) as limit:
            status, error, asked = self._exchange(url, headers, body.encode(), limit)
        took_s = round(time.monotonic() - started, 3)
        return ReceiverResponse(
            status=status, error=error, retry_after_s=retry_after_s(asked, time.time()) if asked else 0.0, took_s=took_s
        )

    def _exchange(
        self, url: str, headers: Mapping[str, str], body: bytes, limit: Limit
    ) -> tuple[int | None, str | None, str | None]:
        """The status, what is wrong with it, and the pause that was asked for."""
        _current.limit = limit
        try:
            with (
                _WebhookSession(self._config, self._allow) as session,
                session.post(url, data=body, headers=dict(headers), stream=True) as response,
            ):
                if limit.over:
                    # http.client takes a head that was cut off for a whole one.
                    return None, _late(self._timeout_s), None
                with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                    response.raw.read(BODY_BYTES, decode_content=False)
                asked = response.headers.get("Retry-After") if response.status_code in PAUSES else None
                return response.status_code, _fault(response.status_code), asked
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            # requests lets some of urllib3's own errors through, and http.client's of odd header lines.
            return None, _sentence(exc, limit, self._timeout_s), None
        finally:
            _current.limit = None


def signature_headers(message_id: str, body: str, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """The headers of a webhook, with a signature by each secret."""
    return {
        "Content-Type": "application/json",
        "Connection": "close",
        "Accept-Encoding": "identity",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, body) for secret in secrets),
    }


def _fault(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed"
    return f"answered {status}"


def _late(timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s"


def _sentence(exc: Exception, limit: Limit, timeout_s: float) -> str:
    if isinstance(exc, InvalidIPAddress):
        return f"{exc} is not a public address. STENTOR_WEBHOOK_ALLOW lists private networks that are allowed."
    if limit.over or isinstance(exc, requests.Timeout):
        return _late(timeout_s)
    if isinstance(exc.__cause__, socket.gaierror):
        return "the name of the receiver does not resolve"
    # requests wraps what urllib3 wraps; what happened is innermost.
    cause = getattr(exc.args[0], "reason", None) if exc.args else None
    cause = cause or exc
    return f"{type(cause).__name__}: {cause}"[:300]


class _Current(threading.local):
    """The limit of the exchange that this thread has."""

    limit: Limit | None = None


_current = _Current()


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _watch(super()._new_conn())


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _watch(super()._new_conn())


def _watch(connected: socket.socket) -> socket.socket:
    if _current.limit is not None:
        _current.limit.watch(connected)
    return connected


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(IPFilterAdapter):  # type: ignore[misc] # requests-hardened has no types
    """Resolves once, refuses what is not permitted, and connects to that address and no other.

    requests-hardened does it, and knows no networks that are allowed. Its error names the address that
    it found: if that is allowed, it is the one that is connected to. Nothing is resolved a second time.
    """

    def __init__(self, *, is_https_proto: bool, allow: Sequence[Network]) -> None:
        super().__init__(is_https_proto=is_https_proto)
        self._allow = allow
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: str | tuple[str, str] | None = None
    ) -> tuple[Any, Any]:
        """Where to connect to, and how."""
        try:
            host, how = super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as exc:
            (address,) = exc.args
            host, how = HTTPAdapter.build_connection_pool_key_attributes(self, request, verify, cert)
            if self._is_https_proto:
                how["assert_hostname"] = how["server_hostname"] = host["host"]  # type: ignore[typeddict-unknown-key]
            host["host"] = f"[{address}]" if address.version == 6 else str(address)
        pinned = _address(host["host"])
        if not is_permitted(pinned, self._allow):
            raise InvalidIPAddress(pinned)
        return host, how


def _address(host: str) -> Address:
    found = literal(host.strip("[]"))
    assert found is not None, f"{host} is no address"
    return found


class _WebhookSession(HTTPSession):  # type: ignore[misc] # requests-hardened has no types
    """Follows no redirect, and knows no proxy, password or certificate of this machine's environment."""

    def __init__(self, config: Config, allow: Sequence[Network]) -> None:
        super().__init__(config)
        self.trust_env = False
        self.mount("http://", _Adapter(is_https_proto=False, allow=allow))
        self.mount("https://", _Adapter(is_https_proto=True, allow=allow))

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' signature
        """None: requests would else read the whole body of a redirect, to be ready for the next request."""
        return None
