"""Whether the client of a request is still there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from api.front.body import Receive

#: Where a request's environment has its client.
KEY = "stentor.client"


class HttpClient:
    """The other end of a connection. ``watch`` and ``has_left`` are for the thread that works on the request."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._loop = loop
        self._left = threading.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._on_leave: Callable[[], None] = lambda: None

    @property
    def has_left(self) -> bool:
        """Whether the connection has ended, as far as ``watch`` has seen."""
        return self._left.is_set()

    def watch(self, on_leave: Callable[[], None]) -> None:
        """Call ``on_leave`` when the connection ends. Only requests that wait need it: it costs a task."""
        self._on_leave = on_leave
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left.set()
        self._on_leave()

    def forget(self) -> None:
        """Watch no longer: the answer is sent."""
        if self._watcher is not None:
            self._watcher.cancel()
