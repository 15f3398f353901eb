"""The meter: adds up the time, work and energy of each device of a host, and charges them to its bill.

A device reports a forward pass when it ends, not while it runs. So the time in which it is ``busy`` stays open until
its next report. Then its passes are placed before the moment of that report, the latest first.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import redis

from scheduler.bill.intervals import Interval, Seen, interval
from scheduler.plan import Clocks
from stentor import log
from stentor.bill import OVERTAKEN, SLOT_S, THERE, BillStore, Charge, add_amounts
from stentor.days import DAY_S
from stentor.devices.nvml import Reading
from stentor.devices.passes import NAMES
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.settings import Settings

_log = log.get(__name__)

#: Time between two charges, in seconds. When a scheduler is killed, the next one counts the time since the last charge.
FLUSH_EVERY_S: Final = 10.0
#: After a longer pause between two ticks, the device's state in between counts as unknown, in seconds.
GAP_S: Final = 30.0
#: How long a busy device may report no pass before that time counts as unknown, in seconds. The deadline of a pass is
#: ``STENTOR_BATCH_DEADLINE_S`` plus its audio, and a batch has a few minutes of audio at most.
OPEN_S: Final = 600.0


class Meter:
    """Adds up what the devices of this host do and consume, and charges it to their bills.

    Each charge continues the one before. If two schedulers keep the bill of one host, after a freeze or because of
    wrong settings, the charge of the later one is refused. It then continues from the other's mark.

    Raises:
        RedisUnavailable: from both methods, when Redis does not answer. Nothing is lost and nothing is charged twice.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._store = BillStore(client)
        self._machine = settings.machine
        self._devices: dict[str, MeteredDevice] = {}
        #: Charges that Redis has not confirmed; they are sent again unchanged.
        self._sent: dict[str, Charge] = {}
        self._flushed_at = float("-inf")
        #: Devices that another scheduler also charges.
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
                self._devices[status.id] = MeteredDevice(None if mark is None else Seen.from_json(mark), after=after)
        # Devices on one GPU share its energy equally: it cannot be measured by process.
        sharers = Counter(
            readings[status.id].uuid for status in own if status.state != DeviceState.GONE and status.id in readings
        )
        for status in own:
            reading = readings.get(status.id)
            seen = Seen.of(now, status, reading, clocks.get(status.id))
            self._devices[status.id].count(seen, sharers=sharers[reading.uuid] if reading else 1)

    def flush(self, now: float | None = None) -> None:
        """Charge what was counted: at once, or with ``now`` only if ``FLUSH_EVERY_S`` passed since the last time."""
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
                # Another scheduler has billed this time, or Redis has lost its last second. Continue from its mark.
                self._devices.pop(device_id, None)
                if device_id not in self._overtaken:
                    _log.warning("charged_by_another", device=device_id, machine=self._machine)
                self._overtaken.add(device_id)
            elif answer == THERE:
                _log.info("charge_was_there", device=device_id)
            del self._sent[device_id]


class MeteredDevice:
    """One device between two charges."""

    def __init__(self, before: Seen | None, *, after: str) -> None:
        """``before`` is its state at the end of its last charge; ``after`` is the id of that charge."""
        self._before = before
        self._after = after
        #: Ticks for which the time in passes is not known yet, oldest first.
        self._open: list[Interval] = []
        #: Its state when the first of those began.
        self._mark = before
        #: Seconds of passes that fit into no tick.
        self._over_s = 0.0
        self._uncharged: dict[tuple[int, int], dict[str, float]] = {}

    def count(self, seen: Seen, *, sharers: int) -> None:
        """Count what it did since the last call."""
        before, self._before = self._before, seen
        if before is None:
            self._mark = seen
            return
        self._count_work(before, seen)
        replaced = not seen.continues(before)
        if DeviceState.GONE in (seen.status.state, before.status.state) or seen.at <= before.at:
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
            self._add(seen.at, done)

    def _place_passes(self, before: Seen, seen: Seen) -> None:
        """Place the passes that the device reported since the last tick into the open ticks."""
        done_before_s = before.status.busy_s if seen.continues(before) else 0.0
        passes_s = max(0.0, seen.status.busy_s - done_before_s)
        until = seen.known_until if seen.status.state == DeviceState.BUSY and passes_s > 0 else seen.at
        if seen.status.state == DeviceState.BUSY and passes_s == 0:
            return
        left_s = passes_s + self._over_s
        for tick in self._open:
            tick.cut(until)
        for likely in (True, False):
            for tick in reversed(self._open):
                left_s = tick.place(left_s, until=until, likely=likely)
        for tick in self._open:
            tick.close(until)
        # More than this is a clock that was set, not a late report.
        self._over_s = min(left_s, GAP_S)

    def _settle(self, seen: Seen) -> None:
        """Count the closed ticks, and those that have been open for too long."""
        while self._open and (self._open[0].closed or seen.at - self._open[0].begin > OPEN_S):
            tick = self._open.pop(0)
            if not tick.closed:
                tick.give_up()
            self._add_tick(tick)
        if not self._open:
            self._mark = seen
        elif self._mark is None or self._mark.at != self._open[0].begin:
            self._mark = dataclasses.replace(seen, at=self._open[0].begin, energy_j=self._open[0].energy_at_begin_j)

    def _give_up(self) -> None:
        """Count the open ticks as unknown: no report about them can come any more."""
        for tick in self._open:
            tick.give_up()
            self._add_tick(tick)
        self._open = []
        self._over_s = 0.0

    def _add_tick(self, tick: Interval) -> None:
        amounts = tick.amounts()
        for begin, end in _slots(tick.begin, tick.end):
            share = (end - begin) / (tick.end - tick.begin)
            self._add(begin, {field: amount * share for field, amount in amounts.items()})

    def _add(self, at: float, amounts: Mapping[str, float]) -> None:
        place = (int(at // DAY_S), int(at % DAY_S // SLOT_S))
        self._uncharged[place] = add_amounts(self._uncharged.get(place, {}), amounts)

    def charge(self, device_id: str) -> Charge | None:
        """Take what is not charged yet as a charge; None without any."""
        amounts, self._uncharged = self._uncharged, {}
        if self._mark is None or not amounts:
            return None
        # The work is counted up to now, the time only up to the first open tick.
        assert self._before is not None
        mark = dataclasses.replace(self._mark, status=self._before.status)
        after, self._after = self._after, uuid.uuid4().hex
        return Charge(id=self._after, device=device_id, after=after, amounts=amounts, mark=mark.to_json())


def _work(before: DeviceStatus | None, now: DeviceStatus) -> Iterator[tuple[str, float]]:
    """What the counters of the device's process grew by; ``before`` is None for a new process."""
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
    """The span, divided at the borders of slots. Each day begins with a slot."""
    while begin < end:
        edge = min(end, (begin // SLOT_S + 1) * SLOT_S)
        yield begin, edge
        begin = edge
