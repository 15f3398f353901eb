"""Ends connections that take too long, however they do it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Iterator


class Limit:
    """The time that one exchange has. Its thread shows its socket; when the time is over, nothing comes through it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False
        #: Whether the time was over before the exchange was.
        self.over = False

    def watch(self, connected: socket.socket) -> None:
        """Let the time count for this connection."""
        with self._lock:
            # TLS takes the file descriptor away from the socket that it wraps; a second one stays ours.
            self._socket = connected.dup()
        if self.over:
            self.end()

    def end(self) -> None:
        """End the connection now; its reader or writer gets an error."""
        with self._lock:
            if self._closed:
                return
            self.over = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The exchange is over."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                self._socket.close()


class Watchdog:
    """One thread that watches over the time of all exchanges; it starts with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends: list[tuple[float, int, Limit]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[Limit]:
        """A limit that ends this many seconds from now."""
        limit = Limit()
        with self._changed:
            heapq.heappush(self._ends, (time.monotonic() + seconds, next(self._number), limit))
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        try:
            yield limit
        finally:
            limit.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                if not self._ends or self._ends[0][0] > now:
                    self._changed.wait(self._ends[0][0] - now if self._ends else None)
                    continue
                _, _, limit = heapq.heappop(self._ends)
            limit.end()
