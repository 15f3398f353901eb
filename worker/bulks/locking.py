"""Locks for work on a whole bulk that one process at a time may do. A process that dies loses its lock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import redis

from stentor.bulks.bulk import VERSION
from stentor.bulks.store import BulkStore
from stentor.errors import RecordNewer, RedisUnavailable, UnavailableError
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.redis.lease import Lease, Renewal
from stentor.settings import Settings

#: How long a lock lasts without a renewal, and how often it is renewed, in seconds.
LOCK_S, RENEW_EVERY_S = 30.0, 5.0
#: How long to wait for another process, in seconds: one that is just ending releases the lock within that time.
PATIENCE_S: Final = 3.0
#: Between two attempts to acquire a lock, in seconds.
LOOK_EVERY_S: Final = 0.1


class LockLost(UnavailableError):
    """Another process may be doing the same work by now."""


class LockTaken(UnavailableError):
    """Another process does the work."""


@contextlib.contextmanager
def lock(client: redis.Redis, key: str) -> Iterator[Callable[[], None] | None]:
    """A check that raises ``LockLost`` once the lock is no longer held; None if another process holds it.

    A thread renews it. A process that was killed loses it after ``LOCK_S``.
    """
    lease = Lease(client, key, lease_s=LOCK_S)
    if not _acquire(lease):
        yield None
        return
    lost = threading.Event()

    def renew() -> bool:
        if not lease.renew():
            lost.set()
        return not lost.is_set()

    def check() -> None:
        if lost.is_set():
            raise LockLost(f"The lock {key} is no longer held.")

    renewal = Renewal(renew, every_s=RENEW_EVERY_S, key=key)
    renewal.start()
    try:
        yield check
    finally:
        renewal.stop()
        with contextlib.suppress(RedisUnavailable):
            lease.release()


def _acquire(lease: Lease) -> bool:
    """Whether the lease was acquired, at the latest after ``PATIENCE_S``."""
    until_s = time.monotonic() + PATIENCE_S
    while not lease.acquire():
        if time.monotonic() + LOOK_EVERY_S > until_s:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


@contextlib.contextmanager
def alone(bulk_id: str, work: str, settings: Settings) -> Iterator[tuple[redis.Redis, BulkStore, Callable[[], None]]]:
    """A connection, the bulks, and a check that raises ``LockLost``, for work on a whole bulk.

    Raises:
        LockTaken: another process is at it; look again later, for that process may die.
        RecordNewer: a newer release has written the bulk; look again later, for a worker of that one may be at it then.
        RedisUnavailable: Redis does not answer.
    """
    with (
        contextlib.closing(connect(settings)) as client,
        lock(client, keys.bulk_lock(bulk_id, work)) as check,
    ):
        if check is None:
            raise LockTaken(f"Another process is doing the work {work!r} of bulk {bulk_id}.")
        store = BulkStore(client, retention_s=settings.retention_s)
        bulk = store.glance(bulk_id)
        if bulk and bulk.version > VERSION:
            raise RecordNewer(f"{bulk_id} is of version {bulk.version}; this release reads up to {VERSION}")
        yield client, store, check
