"""Waiting for outcomes: one thread reads the event stream and wakes all waiting requests."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar, cast

import redis

from api.front.client import HttpClient
from stentor import log
from stentor.redis import keys
from stentor.redis.client import text_map

_log = log.get(__name__)

T = TypeVar("T")

#: How long one read of the event stream blocks, in ms; less than the timeout of the Redis client.
BLOCK_MS = 2000
#: A waiting request looks at its job at least this often, in seconds: an event may be trimmed before it is read.
LOOK_EVERY_S = 5.0
#: Pause after an error of Redis, in seconds.
AWAY_PAUSE_S = 0.5


class Outcomes:
    """Wakes requests that wait for an outcome. Thread-safe; its own thread runs only while a request waits."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: Whether this process stops: a client that can ask again gets its response now, not a closed connection.
        self.ending = False

    def wait(
        self,
        awaited_id: str,
        look: Callable[[], T],
        timeout_s: float,
        *,
        over: Callable[[T], bool],
        patient: bool = False,
        client: HttpClient | None = None,
    ) -> T:
        """What ``look`` finds when that is ``over``, or after ``timeout_s``; events of ``awaited_id`` wake it.

        Returns earlier if the ``client`` has left. Returns earlier if the process stops, unless ``patient``, which is
        for clients that cannot ask again.
        """
        until = time.monotonic() + timeout_s
        found = look()
        if over(found) or timeout_s <= 0:
            return found
        woken = threading.Event()
        if client:
            client.watch(woken.set)
        with self._lock:
            self._waiting[awaited_id].add(woken)
            self._listen()
        try:
            # Look after the event is registered, so that an outcome in between is not missed.
            while (
                not over(found := look())
                and (patient or not self.ending)
                and not (client and client.has_left)
                and (left_s := until - time.monotonic()) > 0
            ):
                woken.wait(min(left_s, LOOK_EVERY_S))
                woken.clear()
        finally:
            with self._lock:
                self._waiting[awaited_id].discard(woken)
                if not self._waiting[awaited_id]:
                    del self._waiting[awaited_id]
        return found

    def end(self) -> None:
        """Make all waiting requests look once more and return, because the process stops."""
        self.ending = True
        self._wake_all()

    def _listen(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
            self._thread.start()

    def _retire_if_idle(self) -> bool:
        """Whether no request waits. Then the thread must end; the next request that waits starts another."""
        with self._lock:
            if not self._waiting:
                self._thread = None
            return not self._waiting

    def _run(self) -> None:
        seen = ""
        while not self._retire_if_idle():
            try:
                if not seen:
                    seen = self._newest()
                    # Earlier events are not read: requests that wait for them find the outcome by looking.
                    self._wake_all()
                answer = self._client.xread({keys.EVENTS: seen}, count=1000, block=BLOCK_MS)
            except redis.RedisError as exc:
                _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=AWAY_PAUSE_S)
                time.sleep(AWAY_PAUSE_S)
                continue
            for entry, fields in _entries(answer):
                seen = entry
                self._wake(fields["id"])

    def _newest(self) -> str:
        """The id to read from. Not ``$``, which would miss events between two reads."""
        newest = cast("list[tuple[str, object]]", self._client.xrevrange(keys.EVENTS, count=1))
        return newest[0][0] if newest else "0-0"

    def _wake_all(self) -> None:
        with self._lock:
            for woken in itertools.chain.from_iterable(self._waiting.values()):
                woken.set()

    def _wake(self, over_id: str) -> None:
        with self._lock:
            for woken in self._waiting.get(over_id, ()):
                woken.set()


def _entries(answer: object) -> list[tuple[str, dict[str, str]]]:
    """The entries of one stream in an answer of XREAD: a map with RESP3, a list of pairs with RESP2."""
    if not answer:
        return []
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]  # type: ignore[attr-defined]
    flat = [entry for entries in streams for entry in (entries[0] if isinstance(entries[0], list) else entries)]
    return [(entry, text_map(fields)) for entry, fields in flat]
