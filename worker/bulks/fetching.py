"""Reads many objects in order, some of them ahead, so that the pace is not that of one answer of S3 after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from stentor.errors import AudioNotFound
from stentor.storage.s3 import Storage

T = TypeVar("T")

#: Objects that are read at the same time.
THREADS: Final = 8
#: Most bytes and objects that are held for what comes next.
AHEAD_BYTES, AHEAD_OBJECTS = 16 * 2**20, 32


def fetch_ahead(
    storage: Storage, items: Iterable[T], key_of: Callable[[T], str | None], bytes_of: Callable[[T], int]
) -> Iterator[tuple[T, bytes | None]]:
    """Each item with the bytes of its object, in order; None where it has none, or the object is gone.

    ``bytes_of`` says how large an object is, as far as it is known. One that is larger than all that may be held is
    read when its turn comes.

    Raises:
        StorageUnavailable: S3 does not answer.
    """
    ahead: deque[tuple[T, int, Future[bytes | None] | None]] = deque()
    held = 0

    def read(key: str) -> bytes | None:
        try:
            return storage.get(key)
        except AudioNotFound:
            return None

    def first() -> tuple[T, bytes | None]:
        nonlocal held
        item, size, future = ahead.popleft()
        held -= size
        return item, future.result() if future else None

    with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
        try:
            for item in items:
                key, size = key_of(item), bytes_of(item)
                while ahead and (held + size > AHEAD_BYTES or len(ahead) >= AHEAD_OBJECTS):
                    yield first()
                ahead.append((item, size, pool.submit(read, key) if key else None))
                held += size
            while ahead:
                yield first()
        finally:
            pool.shutdown(cancel_futures=True)
