"""The meter: what each device of a host did and took between two ticks, added up and charged to its bill.

A device tells how long its forward passes took when they end, not while they run. So time in which it is ``busy`` stays
open until it says more; then its passes are placed, the latest first, before the moment at which it last spoke.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import redis

from scheduler.bill.intervals import Interval, Seen, interval
from scheduler.policy import Clocks
from stentor import log
from stentor.bill import OVERTAKEN, SLOT_S, THERE, BillStore, Charge, added
from stentor.days import DAY_S
from stentor.devices.nvml import Reading
from stentor.devices.passes import NAMES
from stentor.devices.registry import BUSY, GONE, DeviceStatus
from stentor.settings import Settings

_log = log.get(__name__)

#: Between two charges, in seconds: what a scheduler that is killed leaves to the next one to count.
FLUSH_EVERY_S: Final = 10.0
#: After a tick longer than this nobody knows what the device did meanwhile, in seconds.
GAP_S: Final = 30.0
#: Time for which a busy device may tell of no pass before it is called unknown, in seconds. The deadline of a pass is
#: ``STENTOR_BATCH_DEADLINE_S`` beyond its audio, and a batch has a few minutes of that at most.
OPEN_S: Final = 600.0


class Meter:
    """Adds up what the devices of this host do and take, and charges it to their bills.

    Each charge goes on from the one before. So of two schedulers that both think the host theirs, as after a freeze or
    by a mistake in the settings, the one that is behind has its charge refused, and counts anew from the other's mark.

    Raises:
        RedisUnavailable: from both methods, when Redis does not answer. Nothing is lost and nothing is charged twice.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._store = BillStore(client)
        self._machine = settings.machine
        self._devices: dict[str, _Device] = {}
        #: What may have been charged already, and is sent again as it is until Redis says so.
        self._sent: dict[str, Charge] = {}
        self._flushed_at = float("-inf")
        #: Devices that another scheduler was seen to charge.
        self._overtaken: set[str] = set()

    def sample(
        self,
        now: float,
        statuses: Sequence[DeviceStatus],
        readings: Mapping[str, Reading],
        clocks: Mapping[str, Clocks],
    ) -> None:
        """Count what the devices of this host did since the last tick. ``now`` is seconds since the epoch."""
        own = [status for status in statuses if status.machine == self._machine]
        for status in own:
            if status.id not in self._devices:
                after, mark = self._store.last(status.id)
                self._devices[status.id] = _Device(None if mark is None else Seen.from_json(mark), after=after)
        # Devices on one GPU share its energy: nobody can tell whose was which.
        sharers = Counter(readings[status.id].uuid for status in own if status.state != GONE and status.id in readings)
        for status in own:
            reading = readings.get(status.id)
            seen = Seen.of(now, status, reading, clocks.get(status.id))
            self._devices[status.id].count(seen, sharers=sharers[reading.uuid] if reading else 1)

    def flush(self, now: float | None = None) -> None:
        """Charge what was counted: at once, or with ``now`` when it is ``FLUSH_EVERY_S`` since it was done last."""
        if now is not None and 0 <= now - self._flushed_at < FLUSH_EVERY_S:
            return
        self._send()
        for device_id, device in self._devices.items():
            charge = device.charge(device_id)
            if charge is not None:
                self._sent[device_id] = charge
        self._send()
        self._flushed_at = self._flushed_at if now is None else now

    def _send(self) -> None:
        for device_id, charge in list(self._sent.items()):
            answer = self._store.charge(charge)
            if answer == OVERTAKEN:
                # Somebody has billed this time, or Redis has lost its last second. What comes next goes on from there.
                self._devices.pop(device_id, None)
                if device_id not in self._overtaken:
                    _log.warning("charged_by_another", device=device_id, machine=self._machine)
                self._overtaken.add(device_id)
            elif answer == THERE:
                _log.info("charge_was_there", device=device_id)
            del self._sent[device_id]


class _Device:
    """One device between two charges."""

    def __init__(self, before: Seen | None, *, after: str) -> None:
        """What it was when its last charge ended, and the id of that one."""
        self._before = before
        self._after = after
        #: Ticks of which it is not known yet how much of them was spent in passes, oldest first.
        self._open: list[Interval] = []
        #: What it was when the first of those began.
        self._mark = before
        #: Seconds of passes that no tick had room for.
        self._over_s = 0.0
        self._owed: dict[tuple[int, int], dict[str, float]] = {}

    def count(self, seen: Seen, *, sharers: int) -> None:
        """Count what it did since it was seen last."""
        before, self._before = self._before, seen
        if before is None:
            self._mark = seen
            return
        self._count_work(before, seen)
        replaced = not seen.continues(before)
        if GONE in (seen.status.state, before.status.state) or seen.at <= before.at:
            self._give_up()
            self._mark = seen
            return
        long = seen.at - before.at > GAP_S
        if long or replaced:
            self._give_up()
        tick = interval(before, seen, sharers=sharers, known=not long)
        if tick is None:
            self._mark = seen
            return
        if not self._open:
            self._mark = before
        self._open.append(tick)
        if not long:
            self._place_passes(before, seen)
        self._settle(seen)

    def _count_work(self, before: Seen, seen: Seen) -> None:
        work = _work(before.status if seen.continues(before) else None, seen.status)
        if done := {field: amount for field, amount in work if amount}:
            self._owe(seen.at, done)

    def _place_passes(self, before: Seen, seen: Seen) -> None:
        """Place what the device has told of its passes since it was seen last into the ticks that are open."""
        done_before_s = before.status.busy_s if seen.continues(before) else 0.0
        told_s = max(0.0, seen.status.busy_s - done_before_s)
        until = seen.told_until if seen.status.state == BUSY and told_s > 0 else seen.at
        if seen.status.state == BUSY and told_s == 0:
            return
        left_s = told_s + self._over_s
        for tick in self._open:
            tick.cut(until)
        for likely in (True, False):
            for tick in reversed(self._open):
                left_s = tick.place(left_s, until=until, likely=likely)
        for tick in self._open:
            tick.close(until)
        # More than a tick's worth is a clock that was set, not a report that was late.
        self._over_s = min(left_s, GAP_S)

    def _settle(self, seen: Seen) -> None:
        """Count the ticks that are no longer open, and give those up that have been open for too long."""
        while self._open and (self._open[0].closed or seen.at - self._open[0].begin > OPEN_S):
            tick = self._open.pop(0)
            if not tick.closed:
                tick.give_up()
            self._owe_tick(tick)
        if not self._open:
            self._mark = seen
        elif self._mark is None or self._mark.at != self._open[0].begin:
            self._mark = dataclasses.replace(seen, at=self._open[0].begin, energy_j=self._open[0].energy_at_begin_j)

    def _give_up(self) -> None:
        """Nobody will tell any more what happened in the ticks that are open."""
        for tick in self._open:
            tick.give_up()
            self._owe_tick(tick)
        self._open = []
        self._over_s = 0.0

    def _owe_tick(self, tick: Interval) -> None:
        amounts = tick.amounts()
        for begin, end in _slots(tick.begin, tick.end):
            share = (end - begin) / (tick.end - tick.begin)
            self._owe(begin, {field: amount * share for field, amount in amounts.items()})

    def _owe(self, at: float, amounts: Mapping[str, float]) -> None:
        place = (int(at // DAY_S), int(at % DAY_S // SLOT_S))
        self._owed[place] = added(self._owed.get(place, {}), amounts)

    def charge(self, device_id: str) -> Charge | None:
        """What it owes, which is then owed no longer; None if that is nothing."""
        owed, self._owed = self._owed, {}
        if self._mark is None or not owed:
            return None
        # The work is counted up to now, the time up to where ticks are open.
        assert self._before is not None
        mark = dataclasses.replace(self._mark, status=self._before.status)
        after, self._after = self._after, uuid.uuid4().hex
        return Charge(id=self._after, device=device_id, after=after, amounts=owed, mark=mark.to_json())


def _work(before: DeviceStatus | None, now: DeviceStatus) -> Iterator[tuple[str, float]]:
    """What the device's process has counted since; ``before`` is None when the process is another one."""
    for field in ("audio_s", "batches", "rows", "cost", "padded_cost"):
        yield field, _growth(getattr(before, field, 0.0), getattr(now, field))
    yield "pass_s", _growth(before.busy_s if before else 0.0, now.busy_s)
    for model, sums in now.sums.items():
        then = (before.sums.get(model) if before else None) or (0.0,) * len(NAMES)
        for name, old, new in zip(NAMES, then, sums, strict=True):
            yield f"sum:{model}:{name}", _growth(old, new)


def _growth(before: float, now: float) -> float:
    return max(0.0, now - before)


def _slots(begin: float, end: float) -> Iterator[tuple[float, float]]:
    """The span, cut where one slot ends and the next begins; days begin with a slot."""
    while begin < end:
        edge = min(end, (begin // SLOT_S + 1) * SLOT_S)
        yield begin, edge
        begin = edge
