"""Waiting for outcomes: one thread reads the event stream and wakes the requests that wait, however many there are."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar, cast

import redis

from stentor import log
from stentor.redis import keys
from stentor.redis.client import text_map

_log = log.get(__name__)

T = TypeVar("T")

#: How long one read of the event stream blocks, in ms; less than the client's patience for an answer.
BLOCK_MS = 2000
#: A waiting request looks at its job at least this often, should an event have been trimmed away unseen, in seconds.
LOOK_EVERY_S = 5.0
#: Pause after Redis did not answer, in seconds.
AWAY_PAUSE_S = 0.5


class Outcomes:
    """Wakes whoever waits for an outcome. Safe for threads; its own thread is there while somebody waits."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: Whether this process was told to stop: whoever can ask again is better answered now than cut off later.
        self.ending = False

    def wait(
        self,
        awaited_id: str,
        look: Callable[[], T],
        timeout_s: float,
        *,
        over: Callable[[T], bool],
        patient: bool = False,
    ) -> T:
        """What ``look`` finds once that is ``over``, or after ``timeout_s``: whatever has events by that id.

        Earlier if the process is to end, for who waits can ask again; not if ``patient``, for whom that is not so.
        """
        until = time.monotonic() + timeout_s
        found = look()
        if over(found) or timeout_s <= 0:
            return found
        woken = threading.Event()
        with self._lock:
            self._waiting[awaited_id].add(woken)
            self._listen()
        try:
            # Looked at after the event is in place: an outcome between the two is not missed.
            while (
                not over(found := look()) and (patient or not self.ending) and (left_s := until - time.monotonic()) > 0
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
        """Have all who wait look once more, and see that the process is ``ending``."""
        self.ending = True
        self._wake_all()

    def _listen(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
            self._thread.start()

    def _awaited(self) -> bool:
        """Whether anybody waits; if not, the thread is about to end, and the next who waits starts another."""
        with self._lock:
            if not self._waiting:
                self._thread = None
            return bool(self._waiting)

    def _run(self) -> None:
        seen = ""
        while self._awaited():
            try:
                if not seen:
                    seen = self._newest()
                    # What came before that is not read: who waits for it finds it by looking.
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
        """Where to begin to read. Not at ``$``: what comes between two reads would be missed."""
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
    """The entries of one stream in what XREAD answered: a map with RESP3, a list of pairs with RESP2."""
    if not answer:
        return []
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]  # type: ignore[attr-defined]
    flat = [entry for entries in streams for entry in (entries[0] if isinstance(entries[0], list) else entries)]
    return [(entry, text_map(fields)) for entry, fields in flat]
