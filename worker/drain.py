"""The drain: speaks what waits, pass after pass, until nothing waits or its time is over.

While a forward pass runs, the rows of the next one are claimed and prepared and the last one's audio is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from stentor import log
from stentor.errors import RedisUnavailable
from stentor.settings import Settings
from worker.claiming import Claimer, rows_of
from worker.deliveries import Deliveries
from worker.finishing import Finisher
from worker.hand import Hand
from worker.passes import Pass, speak
from worker.residency import Residency
from worker.rows import Parcel, Row

_log = log.get(__name__)

#: Pause after Redis did not answer in the middle of a drain, and how often a stop is looked for, in seconds.
PAUSE_S = 0.5


class Drain:
    """Works a device: one drain at a time, in one thread, with one more for the forward pass."""

    def __init__(
        self,
        settings: Settings,
        claimer: Claimer,
        deliveries: Deliveries,
        residency: Residency,
        hand: Hand,
        finisher: Finisher,
        *,
        stopping: Callable[[], bool],
        spoke: Callable[[Pass], None],
    ) -> None:
        self._settings = settings
        self._claimer = claimer
        self._deliveries = deliveries
        self._residency = residency
        self._hand = hand
        self._finisher = finisher
        self._stopping = stopping
        self._spoke = spoke
        self._speaker = ThreadPoolExecutor(1, thread_name_prefix="speak")
        self._recovered = False

    def run(self) -> bool:
        """Whether work may be left: the time was over, or a stop came.

        Raises:
            EngineFailed: a model that is needed cannot be loaded.
        """
        until = time.monotonic() + self._settings.drain_s
        while not self._stopping():
            late = time.monotonic() >= until
            if not self._finisher.wait_for_room(PAUSE_S):
                continue
            if late:
                # What is in hand would make a small batch; the next drain merges it with what waits.
                self._give_back([parcel for parcel in self._hand.parcels if not parcel.touched])
            gathered = late or self._gathered(until)
            if self._hand.rows:
                self._pass(self._hand.take_batch(self._residency.engines), prepare_next=not late)
            elif gathered:
                return late
        self._give_back(self._hand.parcels)
        return True

    def close(self) -> None:
        """End the thread of forward passes, after the one that runs."""
        self._speaker.shutdown()

    def _gathered(self, until: float) -> bool:
        """Whether the lanes could be asked; what they had is in hand then."""
        try:
            if not self._recovered:
                self._recover(until)
            self._gather()
        except RedisUnavailable as exc:
            _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=PAUSE_S)
            time.sleep(PAUSE_S)
            return False
        return True

    def _gather(self) -> None:
        """Fill the hand; when it stays short of a batch, wait the merge window out for company."""
        self._claimer.top_up()
        if not self._hand.rows:
            return
        model = self._hand.rows[0].parcel.job.model
        oldest = min(row.claimed_at for row in self._hand.rows)
        wait_s = oldest + self._settings.merge_window_ms / 1000 - time.monotonic()
        if wait_s > 0 and self._hand.cost(model) < self._residency.engines[model].info.budget:
            time.sleep(wait_s)
            self._claimer.top_up()

    def _pass(self, rows: Sequence[Row], *, prepare_next: bool) -> None:
        """One forward pass; the next one's rows are prepared beside it."""
        engine = self._residency.engine(rows[0].parcel.job.model)
        passing = self._speaker.submit(speak, engine, rows)
        if prepare_next:
            try:
                self._claimer.top_up()
            except RedisUnavailable as exc:
                _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=0)
        spoken = passing.result()
        self._spoke(spoken)
        for row, answer in zip(spoken.rows, spoken.answers, strict=True):
            if row.parcel.take(row.at, answer, spoken.batch):
                self._finisher.hand_in(row.parcel)
                self._hand.drop(row.parcel)

    def _recover(self, until: float) -> None:
        """Speak what an earlier process of this device left, each alone: one of them may have ended it."""
        while time.monotonic() < until and not self._stopping():
            parcel = self._claimer.orphan()
            if parcel is None:
                self._recovered = True
                return
            for row in rows_of(self._hand, parcel):
                self._hand.rows.remove(row)
                self._pass([row], prepare_next=False)
            self._finisher.wait_until_empty(self._settings.storage_retry_s)

    def _give_back(self, parcels: Sequence[Parcel]) -> None:
        """Let others have these jobs; one of which a part was spoken starts anew."""
        try:
            self._deliveries.give_back([parcel.delivery for parcel in parcels])
        except RedisUnavailable as exc:
            _log.warning("give_back_failed", reason=str(exc), jobs=len(parcels))
        for parcel in parcels:
            self._hand.drop(parcel)
