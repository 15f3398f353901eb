"""A request's body, read as a whole before a thread works on it, with a limit and a deadline."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import IO, Any

from werkzeug.exceptions import RequestEntityTooLarge

from stentor.errors import BodyBroken, BodyTooSlow

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

#: Bytes of a body that are kept in memory; the rest goes to a temporary file.
IN_MEMORY_BYTES = 256 * 1024
#: A body has this long, in seconds, and one second more for each piece of this size: as Apache's
#: ``RequestReadTimeout body=30,MinRate=...`` (https://httpd.apache.org/docs/2.4/mod/mod_reqtimeout.html).
FIRST_S, MIN_BYTES_PER_S = 30.0, 16 * 1024
#: Bytes over the limit that are read and dropped: a client that is still sending would not see the answer.
DROPPED_BYTES = 64 * 2**20

BROKEN = "The body ends early or is not framed as HTTP/1.1 requires. Check its Content-Length or its chunks."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Body:
    """A body that was read. Close it when the request is over."""

    #: At its start. Reading it raises ``RequestEntityTooLarge`` if the body was over the limit.
    file: IO[bytes]
    #: Bytes that came, or that the client declared if the rest was not read.
    size: int

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        self.file.close()


class _Refused(io.RawIOBase):
    """A body over the limit: reading it is an error."""

    def readable(self) -> bool:
        """It is open for reading."""
        return True

    def readinto(self, _buffer: Any) -> int:
        """Refuse."""
        raise RequestEntityTooLarge


async def read_body(receive: Receive, *, declared: int | None, limit: int) -> Body:
    """The whole body, of at most ``limit`` bytes. ``declared`` is its ``Content-Length``; None if it comes in chunks.

    Raises:
        BodyTooSlow, BodyBroken: it did not come as a whole.
    """
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed with the request
    try:
        size = await _copy(receive, file, limit=limit, until=_most(declared, limit))
    except BaseException:
        file.close()
        raise
    if size > limit or (declared or 0) > limit:
        file.close()
        return Body(file=io.BufferedReader(_Refused()), size=max(size, declared or 0))
    file.seek(0)
    return Body(file=file, size=size)


def _most(declared: int | None, limit: int) -> int:
    """Bytes after which nothing more is read. Of a body that declares to be too large nothing is kept."""
    return limit + DROPPED_BYTES if declared is None or declared <= limit + DROPPED_BYTES else 0


async def _copy(receive: Receive, file: IO[bytes], *, limit: int, until: int) -> int:
    """Write the body into ``file``, up to ``limit`` bytes; its size, as far as it was read."""
    size, started = 0, time.monotonic()
    more = until > 0
    while more and size <= until:
        left_s = started + FIRST_S + size / MIN_BYTES_PER_S - time.monotonic()
        message = await _next(receive, left_s)
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit:
            await _write(file, piece)
        more = message.get("more_body", False)
    return size


async def _next(receive: Receive, left_s: float) -> Message:
    try:
        message = await asyncio.wait_for(receive(), max(0.0, left_s))
    except TimeoutError as exc:
        raise BodyTooSlow(
            f"The body came too slowly. Send it within {FIRST_S:.0f} s, or at {MIN_BYTES_PER_S} bytes per second."
        ) from exc
    if message["type"] == "http.disconnect":
        # granian says the same of a client that has left and of a body that it cannot read.
        raise BodyBroken(BROKEN)
    return message


async def _write(file: IO[bytes], piece: bytes) -> None:
    if file.tell() + len(piece) <= IN_MEMORY_BYTES:
        file.write(piece)
    else:
        await asyncio.to_thread(file.write, piece)
