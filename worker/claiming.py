"""Claiming: fills a device's hand from the lanes, as much as the next forward pass can take."""

from __future__ import annotations

import time

from stentor import log
from stentor.errors import EngineCrashed, EngineFailed, ModelUnavailable
from stentor.job import PRIORITIES, Outcome
from stentor.lanes import Lane, class_chars
from stentor.settings import Settings
from stentor.store import Backlog
from worker.choice import Draw, choose
from worker.deliveries import Deliveries, Delivery
from worker.engines.contract import Engine, EngineInfo
from worker.finishing import Finisher
from worker.hand import Hand
from worker.residency import Residency
from worker.rows import Parcel, Row, parcel_of

_log = log.get(__name__)

#: Characters that a voice speaks in a second: 14 to 16 in English with the voices measured. Only a first guess of
#: how many texts to claim; batches are packed by the cost that the engine itself estimates.
CHARS_PER_S = 15.0
#: Most jobs of one claim, so that a lane of very short texts is not emptied by one device.
CLAIM_COUNT = 256


class Claimer:
    """Takes jobs out of lanes and prepares their rows."""

    def __init__(
        self,
        settings: Settings,
        backlog: Backlog,
        deliveries: Deliveries,
        residency: Residency,
        hand: Hand,
        finisher: Finisher,
    ) -> None:
        self._settings = settings
        self._backlog = backlog
        self._deliveries = deliveries
        self._residency = residency
        self._hand = hand
        self._finisher = finisher

    def top_up(self) -> None:
        """Claim and prepare what waits, until the hand holds the budget of one forward pass.

        Less urgent rows in hand leave no less room for a more urgent text: it goes first, and they go later.

        Raises:
            RedisUnavailable: Redis does not answer.
            EngineFailed: the model that the most urgent text needs cannot be loaded.
        """
        draws = choose(
            self._backlog.lanes(time.time()),
            speaks=self._residency.models,
            resident=self._residency.resident,
            max_wait_s=self._settings.bulk_max_wait_s,
        )
        if draws:
            engine = self._residency.engine(draws[0].lane.model)
            for draw in draws:
                self._draw(draw, engine)

    def _draw(self, draw: Draw, engine: Engine) -> None:
        """Claim from one lane until there is no room for more, or nothing waits there."""
        left = CLAIM_COUNT if draw.at_most is None else draw.at_most
        while left:
            room = engine.info.budget - self._hand.cost(draw.lane.model, rank=draw.rank)
            count = min(left, _count(draw.lane, engine.info, room))
            claimed = self._deliveries.claim(draw.lane, count) if count else []
            for delivery in claimed:
                self.take(delivery, engine, rank=draw.rank)
            if len(claimed) < count or not count:
                return
            left -= count

    def take(self, delivery: Delivery, engine: Engine, *, rank: int) -> Parcel | None:
        """The claimed job, prepared and in hand; None if it needs no forward pass, for it has failed already."""
        job = delivery.job
        if job.attempts > self._settings.max_attempts:
            self._fail(
                delivery,
                EngineCrashed(
                    f"the device's process ended {job.attempts - 1} times while it held this job; "
                    f"{self._settings.max_attempts} deliveries are allowed"
                ),
            )
            return None
        try:
            parcel, rows = parcel_of(delivery, engine, claimed_at=time.monotonic(), rank=rank)
        except ModelUnavailable as exc:
            self._fail(delivery, exc)
            return None
        if not rows:
            self._finisher.hand_in(parcel)
            return None
        self._hand.add(parcel, rows)
        return parcel

    def _fail(self, delivery: Delivery, error: EngineCrashed | ModelUnavailable) -> None:
        self._deliveries.settle(delivery, Outcome.failed(error))
        _log.error("job_failed", job_id=delivery.job.id, code=error.code, attempts=delivery.job.attempts)

    def orphan(self) -> Parcel | None:
        """The next job that an earlier process of this device left, in hand; None when there is none left.

        Raises:
            RedisUnavailable: Redis does not answer.
            EngineFailed: its model cannot be loaded; the job has been given back.
        """
        while delivery := self._deliveries.orphan():
            _log.warning("orphan_taken_back", job_id=delivery.job.id, attempts=delivery.job.attempts)
            try:
                engine = self._residency.engine(delivery.job.model)
                parcel = self.take(delivery, engine, rank=PRIORITIES.index(delivery.job.priority))
            except ModelUnavailable as exc:
                self._fail(delivery, exc)
            except EngineFailed:
                # That the model does not load is not this job's doing, and costs it no attempt.
                self._deliveries.give_back([delivery])
                raise
            else:
                if parcel:
                    return parcel
                self._finisher.wait_until_empty(self._settings.lease_s)
        return None


def _count(lane: Lane, info: EngineInfo, room: float) -> int:
    """How many of the lane's texts fit into ``room`` units of cost, by the longest text of its class."""
    cost = class_chars(lane.length) / CHARS_PER_S * info.cost_per_s
    return 0 if room <= 0 else max(1, min(CLAIM_COUNT, int(room // cost)))


def rows_of(hand: Hand, parcel: Parcel) -> list[Row]:
    """The rows of one parcel, in order."""
    return [row for row in hand.rows if row.parcel is parcel]
