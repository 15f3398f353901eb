"""Webhooks: where they may be sent, what they tell, and who hears it. Standard Webhooks 1.0.0."""

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

#: Longest URL that is called.
MAX_URL_CHARS: Final = 2048
#: How long a submission waits for the addresses of a receiver's name, in seconds.
RESOLVE_S: Final = 2.0

PING: Final = "webhook.ping"
PROGRESS: Final = "bulk.progress"
COMPLETED: Final = "bulk.completed"
#: What an endpoint hears that does not choose.
DEFAULT_EVENTS: Final = ("job.succeeded", "job.failed", "job.canceled", COMPLETED)
#: What can be chosen. A ping goes to whom it was asked for.
EVENTS: Final = (*DEFAULT_EVENTS, PROGRESS)

#: Most endpoints of one owner.
MAX_ENDPOINTS: Final = 20
#: How long the secret before a rotation signs beside the new one, in seconds.
OLD_SECRET_S: Final = DAY_S
#: Random bytes of a secret; Standard Webhooks wants 24 to 64.
SECRET_BYTES: Final = 32

PENDING: Final = "pending"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
#: pending -> succeeded | failed; skipped is what came while the endpoint was disabled.
STATES: Final = (PENDING, SUCCEEDED, FAILED, SKIPPED)

_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: A last label that only an IPv4 address has (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")
#: What no URL has: control characters, white space, and what some programs read as a slash.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\s]")


def check_url(url: str, allow: str | None, *, until: float | None = None) -> None:
    """Refuse a URL that must not be called, by what can be known of it now.

    A name is resolved, at most until ``until`` on the monotonic clock; one that does not resolve may do so later, and
    is accepted. What counts in the end is the address at the moment of sending (``worker/webhooks/sending.py``).

    Raises:
        UrlInvalid: it is no URL of http or https, or has a part that none should have.
        UrlRefused: its host is, or has, an address that is not public and in none of the networks of ``allow``.
    """
    host = _host(url)
    allowed = addresses.networks(allow)
    until = time.monotonic() + RESOLVE_S if until is None else until
    for address in _addresses(host, until):
        if not addresses.is_permitted(address, allowed):
            seen = f"{host} is {address}" if str(address) != host else host
            raise UrlRefused(f"{seen}, which is not a public address; STENTOR_WEBHOOK_ALLOW names those allowed beside")


def _addresses(host: str, until: float) -> Sequence[addresses.Address]:
    if host == "localhost" or host.endswith(".localhost"):
        host = "127.0.0.1"
    address = addresses.literal(host)
    if address is not None:
        return (address,)
    if ":" in host or _NUMBER.fullmatch(host):
        raise UrlInvalid(f"the host {host!r} is no name and no address")
    if not _HOST.fullmatch(host):
        raise UrlInvalid(f"the host {host[:80]!r} is no name that can be looked up")
    return addresses.resolved(host, until - time.monotonic())


def _host(url: str) -> str:
    """The host of a URL as resolvers see it: in lower case, ASCII, without a dot at its end."""
    if len(url) > MAX_URL_CHARS:
        raise UrlInvalid(f"the URL has {len(url)} characters; at most {MAX_URL_CHARS} are wanted")
    if found := _FORBIDDEN.search(url):
        raise UrlInvalid(f"the URL has {found.group()!r} in it, which no URL has")
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise UrlInvalid(f"the URL begins with {url.partition(':')[0][:20]!r}; http:// or https:// is wanted")
    if "@" in parts.netloc:
        raise UrlInvalid("the URL has a name or password before its host; it is wanted without")
    if "#" in url:
        raise UrlInvalid("the URL has a fragment (#...), which no server sees; it is wanted without")
    if not (parts.path + parts.query).isascii():
        raise UrlInvalid("the URL's path has characters beyond ASCII; it is wanted percent-encoded")
    host = parts.hostname or ""
    if ":" in host:
        return host.partition("%")[0]  # an IPv6 address; the zone of a link-local one says nothing
    try:
        host = host if host.isascii() else host.encode("idna").decode().lower()
    except UnicodeError as exc:
        raise UrlInvalid(f"the host {host[:80]!r} is no name that can be looked up: {exc}") from exc
    return host.removesuffix(".")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise UrlInvalid("the URL's port is 0; 1 to 65535 is wanted")
    except ValueError as exc:
        raise UrlInvalid(f"the URL cannot be read: {exc}") from exc
    return parts


def origin(url: str) -> str:
    """Scheme, host and port of a URL that was checked."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def new_secret() -> str:
    """A new signing secret, as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signing:
    """What signs webhooks: a secret, and for a while the one before it."""

    secret: str = dataclasses.field(default_factory=new_secret, repr=False)
    old_secret: str | None = dataclasses.field(default=None, repr=False)
    #: Until when the old one signs too, in seconds since the epoch.
    old_until: float = 0.0

    def valid(self, now: float) -> list[str]:
        """The secrets that sign now, the new one first."""
        old = [self.old_secret] if self.old_secret and now < self.old_until else []
        return [self.secret, *old]

    def rotated(self, now: float) -> Signing:
        """The same with a new secret."""
        return Signing(old_secret=self.secret, old_until=now + OLD_SECRET_S)

    def to_json(self) -> str:
        """As Redis keeps it. Secrets are kept as they are: signing needs them."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Signing:
        """What ``to_json`` wrote."""
        return cls(**json.loads(line))


def new_endpoint_id() -> str:
    """A new endpoint id. Ids sort by the millisecond they were made in."""
    return f"whe_{ULID()}".lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Somebody who hears of an owner's jobs and bulks. Times are seconds since the epoch."""

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
    #: Made by a ``webhook_url`` of a job or bulk: all addresses of one origin; signed with the owner's own secret.
    implicit: bool = False

    def hears(self, event: str) -> bool:
        """Whether events of this type are for it."""
        return event in self.events

    def to_json(self) -> str:
        """As Redis keeps it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Endpoint:
        """What ``to_json`` wrote."""
        data = json.loads(line)
        return cls(**{**data, "events": tuple(data["events"]), "signing": Signing(**data["signing"])})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event for one endpoint, and how it went. Times are seconds since the epoch."""

    id: str
    #: The event's id, ``webhook-id``: the same for all endpoints, attempts and replays.
    event: str
    type: str
    endpoint: str
    owner: str
    #: Where it was to go when it was made; an endpoint may have another URL by now.
    url: str
    #: The body, rendered once.
    payload: str
    state: str = PENDING
    created_at: float = dataclasses.field(default_factory=time.time)
    #: When it is tried next.
    due_at: float | None = None
    settled_at: float | None = None
    #: Attempts since it was made, or since it was last asked for again.
    attempts: int = 0
    #: How often a courier took it in hand; says whether one still holds it.
    claims: int = 0
    #: The attempts, the latest last: {at, status, error, took_s}.
    log: Sequence[Mapping[str, Any]] = ()


class Event(NamedTuple):
    """A line of the outbox: what happened to whom. What is told of it is read when it is told."""

    entry: str
    type: str
    id: str
    owner: str


def event_id(kind: str, about: str, moment: str) -> str:
    """The id of an event: whoever makes it from the same facts gets the same."""
    return f"msg_{_digest(kind, about, moment)}"


def delivery_id(event: str, endpoint: str) -> str:
    """The id of the delivery of an event to an endpoint: there is one."""
    return f"whd_{_digest(event, endpoint)}"


def implicit_id(owner: str, url: str) -> str:
    """The id of the implicit endpoint that a ``webhook_url`` belongs to."""
    return f"whe_{_digest(owner, origin(url))}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:26]
