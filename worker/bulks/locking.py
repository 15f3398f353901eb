"""Work on a whole bulk that one process at a time may do: held for as long as that process lives, and no longer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

import redis

from stentor import log
from stentor.bulks.bulk import VERSION
from stentor.bulks.store import BulkStore
from stentor.errors import RecordNewer, UnavailableError
from stentor.redis import keys
from stentor.redis.client import connect, redis_errors
from stentor.settings import Settings

_log = log.get(__name__)

#: How long a lock holds when nobody renews it, and how often it is renewed, in seconds.
LOCK_S, RENEW_EVERY_S = 30.0, 5.0
#: How long another's work is waited for, in seconds. Whoever just ends lets go within that.
PATIENCE_S: Final = 3.0


class LockLost(UnavailableError):
    """Another process may be doing the same work by now."""


class LockTaken(UnavailableError):
    """Another process does the work."""


@contextlib.contextmanager
def locked(client: redis.Redis, key: str) -> Iterator[Callable[[], None] | None]:
    """A check that raises ``LockLost`` once the lock is no longer held; None if another process holds it.

    It is renewed by a thread. A process that was killed has lost it after ``LOCK_S``.
    """
    lock = client.lock(key, timeout=LOCK_S, blocking_timeout=PATIENCE_S, thread_local=False)
    with redis_errors():
        held = lock.acquire()
    if not held:
        yield None
        return
    done, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                lock.reacquire()
            except redis.RedisError as exc:
                # Redis that is away for a moment forgets no lock; one that says no has given it to another.
                _log.warning("lock_not_renewed", key=key, reason=str(exc))
                if isinstance(exc, redis.exceptions.LockError):
                    lost.set()
                    return

    def check() -> None:
        if lost.is_set():
            raise LockLost(f"the lock {key} is no longer held")

    thread = threading.Thread(target=renew, name="lock", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(redis.RedisError):
            lock.release()


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
        locked(client, keys.bulk_lock(bulk_id, work)) as check,
    ):
        if check is None:
            raise LockTaken(f"another process is at the {work} of {bulk_id}")
        store = BulkStore(client, retention_s=settings.retention_s)
        bulk = store.glance(bulk_id)
        if bulk and bulk.version > VERSION:
            raise RecordNewer(f"{bulk_id} is of version {bulk.version}; this release reads up to {VERSION}")
        yield client, store, check
