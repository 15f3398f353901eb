"""Webhooks: allowed URLs, events, endpoints and deliveries, as in Standard Webhooks 1.0.0."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ulid import ULID

from stentor.days import DAY_S
from stentor.errors import UrlInvalid, UrlRefused
from stentor.webhooks import addresses

#: Maximum length of a URL.
MAX_URL_CHARS: Final = 2048
#: How long a submission waits for the name resolution of a receiver, in seconds.
RESOLVE_S: Final = 2.0

PING: Final = "webhook.ping"
PROGRESS: Final = "bulk.progress"
COMPLETED: Final = "bulk.completed"
#: Events of an endpoint that chooses none.
DEFAULT_EVENTS: Final = ("job.succeeded", "job.failed", "job.canceled", COMPLETED)
#: Events that can be chosen. A ping is sent only to the endpoint that it was requested for.
EVENTS: Final = (*DEFAULT_EVENTS, PROGRESS)

#: Maximum number of endpoints of one owner.
MAX_ENDPOINTS: Final = 20
#: How long the old secret signs, too, after a rotation, in seconds.
OLD_SECRET_S: Final = DAY_S
#: Random bytes of a secret; Standard Webhooks requires 24 to 64.
SECRET_BYTES: Final = 32

PENDING: Final = "pending"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
#: pending -> succeeded | failed; skipped: the event came while the endpoint was disabled.
STATES: Final = (PENDING, SUCCEEDED, FAILED, SKIPPED)

_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: A last label that only an IPv4 address has (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")
#: Characters that no URL has: control characters, white space, and the backslash, which some programs read as a slash.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\s]")


def check_url(url: str, allow: str | None, *, until: float | None = None) -> None:
    """Refuse a URL that must not be called, as far as can be known now.

    A name is resolved, at most until ``until`` on the monotonic clock. A name that does not resolve is accepted: it may
    resolve later. The address at the moment of sending decides (``worker/webhooks/sending.py``).

    Raises:
        UrlInvalid: it is not an http or https URL, or has a part that is not allowed.
        UrlRefused: an address of its host is neither public nor in a network of ``allow``.
    """
    host = _host(url)
    allowed = addresses.networks(allow)
    until = time.monotonic() + RESOLVE_S if until is None else until
    for address in _addresses(host, until):
        if not addresses.is_permitted(address, allowed):
            seen = f"{host} is {address}" if str(address) != host else host
            raise UrlRefused(
                f"{seen}, which is not a public address. STENTOR_WEBHOOK_ALLOW lists private networks that are allowed."
            )


def _addresses(host: str, until: float) -> Sequence[addresses.Address]:
    if host == "localhost" or host.endswith(".localhost"):
        host = "127.0.0.1"
    address = addresses.literal(host)
    if address is not None:
        return (address,)
    if ":" in host or _NUMBER.fullmatch(host):
        raise UrlInvalid(f"The host {host!r} is neither a name nor an address.")
    if not _HOST.fullmatch(host):
        raise UrlInvalid(f"The host {host[:80]!r} is not a valid name.")
    return addresses.resolve(host, until - time.monotonic())


def _host(url: str) -> str:
    """The host of a URL as resolvers see it: in lower case, ASCII, without a dot at its end."""
    if len(url) > MAX_URL_CHARS:
        raise UrlInvalid(f"The URL has {len(url)} characters; at most {MAX_URL_CHARS} are allowed.")
    if found := _FORBIDDEN.search(url):
        raise UrlInvalid(f"The URL contains {found.group()!r}, which is not allowed in a URL.")
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise UrlInvalid(f"The URL begins with {url.partition(':')[0][:20]!r}; it must begin with http:// or https://.")
    if "@" in parts.netloc:
        raise UrlInvalid("The URL has a name or password before its host. Remove it.")
    if "#" in url:
        raise UrlInvalid("The URL has a fragment (#...), which is never sent to a server. Remove it.")
    if not (parts.path + parts.query).isascii():
        raise UrlInvalid("The URL's path has characters beyond ASCII. Percent-encode them.")
    host = parts.hostname or ""
    if ":" in host:
        return host.partition("%")[0]  # an IPv6 address, without the zone of a link-local one
    try:
        host = host if host.isascii() else host.encode("idna").decode().lower()
    except UnicodeError as exc:
        raise UrlInvalid(f"The host {host[:80]!r} is not a valid name: {exc}.") from exc
    return host.removesuffix(".")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise UrlInvalid("The URL's port is 0; it must be 1 to 65535.")
    except ValueError as exc:
        raise UrlInvalid(f"The URL is invalid: {exc}.") from exc
    return parts


def origin(url: str) -> str:
    """Scheme, host and port of a valid URL."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def new_secret() -> str:
    """A new signing secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signing:
    """The secret that signs webhooks, and for a while the one before it."""

    secret: str = dataclasses.field(default_factory=new_secret, repr=False)
    old_secret: str | None = dataclasses.field(default=None, repr=False)
    #: Until when the old secret signs, too, in seconds since the epoch.
    old_until: float = 0.0

    def valid(self, now: float) -> list[str]:
        """The secrets that sign now, the new one first."""
        old = [self.old_secret] if self.old_secret and now < self.old_until else []
        return [self.secret, *old]

    def with_new_secret(self, now: float) -> Signing:
        """A copy with a new secret; the old one signs for a while, too."""
        return Signing(old_secret=self.secret, old_until=now + OLD_SECRET_S)

    def to_json(self) -> str:
        """The form that Redis stores. Secrets are not hashed, because signing needs them."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Signing:
        """The value that ``to_json`` wrote."""
        return cls(**json.loads(line))


def new_endpoint_id() -> str:
    """A new endpoint id. Ids sort by the millisecond of their creation."""
    return f"whe_{ULID()}".lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A receiver of webhooks about an owner's jobs and bulks. Times are seconds since the epoch."""

    id: str
    owner: str
    url: str
    events: tuple[str, ...] = DEFAULT_EVENTS
    description: str = ""
    disabled: bool = False
    #: Why the service disabled it; None if the owner did.
    disabled_reason: str | None = None
    created_at: float = dataclasses.field(default_factory=time.time)
    signing: Signing = dataclasses.field(default_factory=Signing)
    #: Created by a ``webhook_url`` of a job or bulk, for all URLs of one origin; signed with the owner's secret.
    implicit: bool = False

    def hears(self, event: str) -> bool:
        """Whether it receives events of this type."""
        return event in self.events

    def to_json(self) -> str:
        """The form that Redis stores."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Endpoint:
        """The value that ``to_json`` wrote."""
        data = json.loads(line)
        return cls(**{**data, "events": tuple(data["events"]), "signing": Signing(**data["signing"])})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event for one endpoint, and its attempts. Times are seconds since the epoch."""

    id: str
    #: The event's id, ``webhook-id``: the same for all endpoints, attempts and replays.
    event: str
    type: str
    endpoint: str
    owner: str
    #: The endpoint's URL when it was created; it may have changed since.
    url: str
    #: The body, rendered once.
    payload: str
    state: str = PENDING
    created_at: float = dataclasses.field(default_factory=time.time)
    #: When the next attempt is due.
    due_at: float | None = None
    settled_at: float | None = None
    #: Attempts since it was created or replayed.
    attempts: int = 0
    #: Number of claims by dispatchers; it shows whether a dispatcher still holds it.
    claims: int = 0
    #: The attempts, the latest last: {at, status, error, took_s}.
    log: Sequence[Mapping[str, Any]] = ()


class Event(NamedTuple):
    """An entry of the outbox: what happened to which job or bulk. The content is read when it is sent."""

    entry: str
    type: str
    id: str
    owner: str


def event_id(kind: str, about: str, moment: str) -> str:
    """The id of an event: the same facts give the same id."""
    return f"msg_{_digest(kind, about, moment)}"


def delivery_id(event: str, endpoint: str) -> str:
    """The id of the one delivery of an event to an endpoint."""
    return f"whd_{_digest(event, endpoint)}"


def implicit_id(owner: str, url: str) -> str:
    """The id of the implicit endpoint of a ``webhook_url``."""
    return f"whe_{_digest(owner, origin(url))}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:26]
