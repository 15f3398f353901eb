"""Dividing the time and energy between two ticks among the states of a device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Final

from scheduler.plan import Clocks
from stentor import bill
from stentor.devices.nvml import Reading
from stentor.devices.overrides import LOW
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.redis.record import from_fields, to_fields

#: Shorter spans count as 0, in seconds: floats of seconds since the epoch are no more precise.
EPSILON_S: Final = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One device at one tick."""

    #: Seconds since the epoch.
    at: float
    status: DeviceStatus
    #: The state (of ``bill.STATES``) that its time counts for while no pass runs.
    rest: str
    #: When its clocks last changed.
    clocks_at: float = 0.0
    gpu: str | None = None
    energy_j: float | None = None
    power_w: float | None = None
    clock_mhz: float | None = None

    @classmethod
    def of(cls, at: float, status: DeviceStatus, reading: Reading | None, clocks: Clocks | None) -> Seen:
        """The device's report, together with the reading of its GPU and the state of its clocks."""
        low = clocks is not None and clocks.state == LOW
        seen = cls(at=at, status=status, rest=_rest(status, low=low), clocks_at=clocks.since if clocks else 0.0)
        if reading is None:
            return seen
        return dataclasses.replace(
            seen,
            gpu=reading.uuid,
            energy_j=reading.energy_j,
            power_w=reading.power_w,
            clock_mhz=reading.sm_clock_mhz,
        )

    @property
    def known_until(self) -> float:
        """Until when its passes are known: the end of the last one."""
        spoke_at = self.status.spoke_at
        return self.at if spoke_at is None else min(spoke_at, self.at)

    def continues(self, before: Seen) -> bool:
        """Whether it is still the same process, so that its counters continue."""
        return (self.status.pid, self.status.started_at) == (before.status.pid, before.status.started_at)

    def to_json(self) -> str:
        """The text that ``from_json`` reads."""
        return json.dumps({**dataclasses.asdict(self), "status": to_fields(self.status)})

    @classmethod
    def from_json(cls, text: str) -> Seen:
        """Read what ``to_json`` wrote. Unknown fields are ignored."""
        data = json.loads(text)
        known = {field.name: data[field.name] for field in dataclasses.fields(cls) if field.name in data}
        return cls(**{**known, "status": from_fields(DeviceStatus, data["status"])})


def _rest(status: DeviceStatus, *, low: bool) -> str:
    if status.state in (DeviceState.STARTING, DeviceState.FAILED) or status.loading_at is not None:
        return bill.STARTING
    if status.state == DeviceState.UNLOADED:
        return bill.UNLOADED_LOW if low else bill.UNLOADED
    if status.state == DeviceState.BUSY and status.model is None and (status.spoke_at or 0.0) < status.state_at:
        # Woken by a text, and still loading.
        return bill.STARTING
    return bill.IDLE_LOW if low else bill.IDLE


@dataclasses.dataclass(kw_only=True)
class IntervalShare:
    """A span of a tick in which a device is in one state, except for passes."""

    begin: float
    end: float
    rest: str
    #: Whether passes may have run in it, by the device's reports.
    likely: bool
    #: Seconds of it that passes took.
    busy_s: float = 0.0
    #: Whether more passes may still be reported for it.
    open: bool = True

    @property
    def free_s(self) -> float:
        """Seconds of it that no pass took."""
        return max(0.0, self.end - self.begin - self.busy_s)


@dataclasses.dataclass(kw_only=True)
class Interval:
    """The time from one tick to the next, in seconds since the epoch, and the energy that the device took in it."""

    begin: float
    end: float
    parts: list[IntervalShare]
    #: The device's share of its GPU's; None if nothing was measured.
    energy_j: float | None
    #: ``counter`` or ``samples``.
    source: str
    #: The GPU's counter when it began.
    energy_at_begin_j: float | None
    clock_mhz: float | None
    #: How many devices are on the GPU.
    sharers: int = 1

    @property
    def closed(self) -> bool:
        """Whether nothing more can be reported about it."""
        return not any(part.open for part in self.parts)

    def cut(self, at: float) -> None:
        """Divide a part at ``at``, if that is inside it."""
        for place, part in enumerate(self.parts):
            if part.open and part.begin + EPSILON_S < at < part.end - EPSILON_S:
                later = dataclasses.replace(part, begin=at)
                part.end = at
                self.parts.insert(place + 1, later)
                return

    def place(self, busy_s: float, *, until: float, likely: bool) -> float:
        """Place seconds of passes into the open parts before ``until``, the latest first; the seconds left over."""
        for part in reversed(self.parts):
            if part.open and part.likely is likely and part.end <= until + EPSILON_S:
                taken_s = min(busy_s, part.free_s)
                part.busy_s += taken_s
                busy_s -= taken_s
        return busy_s

    def close(self, until: float) -> None:
        """Close the parts before ``until``: no more passes will be reported for them."""
        for part in self.parts:
            if part.end <= until + EPSILON_S:
                part.open = False

    def give_up(self) -> None:
        """Mark the open parts as unknown: no report about them can come any more."""
        for part in self.parts:
            if part.open:
                part.rest, part.busy_s, part.open = bill.UNKNOWN, 0.0, False

    def amounts(self) -> dict[str, float]:
        """What it adds to a record (see ``stentor.bill``)."""
        span_s = self.end - self.begin
        states = _spans(self.parts)
        found = {f"s:{state}": seconds for state, seconds in states.items()}
        if self.sharers > 1:
            found["shared_s"] = span_s * (1 - 1 / self.sharers)
        if self.clock_mhz is not None:
            found |= {"clock_s": span_s, "clock_mhz_s": span_s * self.clock_mhz}
        if self.energy_j is None:
            return found
        found |= {"energy_j": self.energy_j, f"{self.source}_s": span_s}
        if bill.UNKNOWN in states:
            return found
        (first, *others) = states
        if not others and (first == bill.BUSY or not any(part.likely for part in self.parts)):
            return found | {f"pure_s:{first}": span_s, f"pure_j:{first}": self.energy_j}
        return found | {"mixed_j": self.energy_j} | {f"mixed_s:{state}": s for state, s in states.items()}


def _spans(parts: Iterable[IntervalShare]) -> dict[str, float]:
    spans: dict[str, float] = {}
    for part in parts:
        for state, seconds in ((bill.BUSY, part.busy_s), (part.rest, part.free_s)):
            if seconds > EPSILON_S:
                spans[state] = spans.get(state, 0.0) + seconds
    return spans


def interval(before: Seen, now: Seen, *, sharers: int, known: bool) -> Interval | None:
    """The interval between two samples; None if the device did not exist in it.

    ``sharers`` is the number of devices on the GPU. Without ``known`` its state in between is unknown, and a new
    process counts from its start only.
    """
    begin = before.at if known or now.continues(before) else max(before.at, now.status.started_at)
    if now.at - begin <= EPSILON_S:
        return None
    energy_j, source = _energy(before, now, sharers=sharers) if begin == before.at else (None, "")
    if not known and source == "samples":
        energy_j = None
    return Interval(
        begin=begin,
        end=now.at,
        parts=_parts(before, now) if known else [_unknown(begin, now.at)],
        energy_j=energy_j,
        source=source,
        energy_at_begin_j=before.energy_j,
        clock_mhz=now.clock_mhz if known else None,
        sharers=sharers,
    )


def _unknown(begin: float, end: float) -> IntervalShare:
    return IntervalShare(begin=begin, end=end, rest=bill.UNKNOWN, likely=False, open=False)


def _parts(before: Seen, now: Seen) -> list[IntervalShare]:
    """The time between as one part, or as two parts divided at the last change."""
    status = now.status
    turned = before.at < status.state_at <= now.at
    # Clocks are set in a tick, so they were the same during the whole tick before it.
    changes = (status.state_at, now.clocks_at, status.loading_at or 0.0, status.loaded_at or 0.0)
    moments = [at for at in changes if before.at < at <= now.at]
    busy_then, busy_now = before.status.state == DeviceState.BUSY, now.status.state == DeviceState.BUSY
    if not moments:
        likely = busy_now or (busy_then and now.status.state_at > before.at)
        return [IntervalShare(begin=before.at, end=now.at, rest=now.rest, likely=likely)]
    cut = max(moments)
    # A device that is idle now and before may have been busy in between.
    likely = busy_then or (turned and now.status.state == DeviceState.IDLE)
    parts = [IntervalShare(begin=before.at, end=cut, rest=before.rest, likely=likely)]
    return parts if cut == now.at else [*parts, IntervalShare(begin=cut, end=now.at, rest=now.rest, likely=busy_now)]


def _energy(before: Seen, now: Seen, *, sharers: int) -> tuple[float | None, str]:
    """The energy between in joules and its source: the GPU's counter, or else its power at both ends."""
    if before.gpu is not None and before.gpu != now.gpu:
        return None, ""
    if before.energy_j is not None and now.energy_j is not None and now.energy_j >= before.energy_j:
        return (now.energy_j - before.energy_j) / sharers, "counter"
    # No counter, or it restarted with its driver.
    powers_w = [power_w for power_w in (before.power_w, now.power_w) if power_w is not None]
    if not powers_w:
        return None, ""
    return sum(powers_w) / len(powers_w) * (now.at - before.at) / sharers, "samples"
