"""Public network addresses, and name resolution with a time limit."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Networks that ``ipaddress``, in some releases of Python, takes for public, although they reach an internal network or
#: embed an IPv4 address that does (RFC 6890 and IANA's registries of special addresses).
NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carrier-grade NAT
        "192.0.0.0/24",  # protocol assignments
        "168.63.129.16/32",  # Azure's agent of virtual machines, which hands out their secrets
        "161.26.0.0/16",  # IBM Cloud's internal services
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
#: The only IPv6 unicast addresses that are routed publicly. Of those that embed IPv4, only 6to4 and Teredo are inside.
PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")

#: Maximum number of names that are resolved at the same time, each in a thread. Further names are not resolved.
LOOKUPS: Final = 16
#: How long the addresses of a name are cached, in seconds, and maximum number of cached names.
GOOD_FOR_S, KNOWN_NAMES = 30.0, 1024

_slots = threading.BoundedSemaphore(LOOKUPS)
_known: dict[str, tuple[float, tuple[Address, ...]]] = {}


def networks(allow: str | None) -> tuple[Network, ...]:
    """The networks of a setting with CIDRs separated by commas."""
    return tuple(ipaddress.ip_network(one.strip()) for one in (allow or "").split(",") if one.strip())


def plain(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped one (``::ffff:10.0.0.1``); any other address unchanged."""
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def is_permitted(address: Address, allow: Sequence[Network]) -> bool:
    """Whether webhooks may be sent to this address: it is public, or in one of the allowed networks."""
    found = plain(address)
    if any(found.version == network.version and found in network for network in allow):
        return True
    if found.version == 6 and found not in PUBLIC_V6:
        return False
    if any(found.version == network.version and found in network for network in NOT_PUBLIC):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def literal(host: str) -> Address | None:
    """The address that a host spells out, in any form that resolvers accept: ``0x7f.1``, ``2130706433``, ``::1``.

    None for a name.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # The C library's resolver also accepts octal, hexadecimal and fewer than four parts.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def resolve(name: str, wait_s: float) -> tuple[Address, ...]:
    """The addresses of a name; empty if it has none, or they are not known within ``wait_s``."""
    expires_at, addresses = _known.get(name, (0.0, ()))
    if expires_at > time.monotonic():
        return addresses
    # getaddrinfo has no time limit: after ``wait_s`` its thread is left to itself.
    if wait_s <= 0 or not _slots.acquire(blocking=False):
        return ()
    answer: queue.SimpleQueue[tuple[Address, ...]] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(name, answer), name="resolver", daemon=True).start()
    try:
        return answer.get(timeout=wait_s)
    except queue.Empty:
        return ()


def _look_up(name: str, answer: queue.SimpleQueue[tuple[Address, ...]]) -> None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        # A link-local IPv6 address may end with its zone.
        addresses = tuple({ipaddress.ip_address(str(one[4][0]).partition("%")[0]): None for one in found})
    except (OSError, UnicodeError):
        addresses = ()
    finally:
        _slots.release()
    if len(_known) >= KNOWN_NAMES:
        _known.clear()
    _known[name] = (time.monotonic() + GOOD_FOR_S, addresses)
    answer.put(addresses)
