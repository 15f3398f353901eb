"""The simulation's own account of a day, kept apart from what the scheduler sees: the bill is held against it.

Energy is the integral of the power curve over what really happened, and what a trick saved is the integral over the
same day played again without it. Nothing here is computed as ``api.cost.savings`` computes it.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence

from stentor.jobs.job import Job
from tests.day.device import Record
from tests.day.power import Power

Watts = Callable[[float], float]


class Spans:
    """Stretches of time that do not overlap, in seconds since the epoch."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self.spans = sorted(spans)
        self._begins = [begin for begin, _ in self.spans]

    def covers(self, at: float) -> bool:
        """Whether a moment lies within one."""
        found = bisect.bisect_right(self._begins, at) - 1
        return found >= 0 and at < self.spans[found][1]

    @property
    def seconds(self) -> float:
        """How long they are together."""
        return sum(end - begin for begin, end in self.spans)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """Joules of the day as it was, and as it would have been."""

    #: The same texts one by one, on a model that never leaves, at normal clocks.
    always_on_j: float
    #: With merged passes; then with the model off the device when it was; then with low clocks: as it was.
    merged_j: float
    unloaded_j: float
    actual_j: float
    #: When the last text would have been spoken one by one, in seconds since the epoch.
    alone_until: float
    #: Seconds of passes one by one.
    alone_s: float

    @property
    def saved_j(self) -> dict[str, float]:
        """What each trick saved."""
        return {
            "merging": self.always_on_j - self.merged_j,
            "unloading": self.merged_j - self.unloaded_j,
            "clocks": self.unloaded_j - self.actual_j,
        }


class Ledger:
    """What happened to one device on one day."""

    def __init__(
        self,
        record: Record,
        power: Power,
        *,
        began: float,
        until: float,
        low: Sequence[tuple[float, float]],
        submitted: Sequence[Job],
        alone_s: Callable[[Job], float],
    ) -> None:
        """``low``: when the clocks were low. ``alone_s``: how long a job would take in passes of its own."""
        self._power = power
        self._began, self._until = began, until
        self._busy = Spans((at, at + took_s) for at, took_s, _ in record.passes)
        self._context, self._resident, self._low = Spans(record.context), Spans(record.resident), Spans(low)
        self._alone = Spans(_one_by_one(submitted, alone_s))

    def seconds(self) -> dict[str, float]:
        """Seconds by state, as the bill calls them."""
        found: dict[str, float] = {}
        for at, took_s in self._pieces():
            state = self._state(at)
            found[state] = found.get(state, 0.0) + took_s
        return found

    def replay(self) -> Replay:
        """The day as it was and would have been."""
        power, busy = self._power, self._busy
        return Replay(
            always_on_j=self._joules(lambda at: power.busy_w if self._alone.covers(at) else power.idle_w),
            merged_j=self._joules(lambda at: power.busy_w if busy.covers(at) else power.idle_w),
            unloaded_j=self._joules(lambda at: self._watts(at, clocks=False)),
            actual_j=self._joules(lambda at: self._watts(at, clocks=True)),
            alone_until=max((end for _, end in self._alone.spans), default=self._began),
            alone_s=self._alone.seconds,
        )

    def _watts(self, at: float, *, clocks: bool) -> float:
        power = self._power
        if self._busy.covers(at):
            return power.busy_w
        if not self._context.covers(at):
            return power.unloaded_w
        return power.low_w if clocks and self._low.covers(at) else power.idle_w

    def _state(self, at: float) -> str:
        if self._busy.covers(at):
            return "busy"
        low = "_low" if self._low.covers(at) else ""
        if not self._context.covers(at):
            return f"unloaded{low}"
        return f"idle{low}" if self._resident.covers(at) else "starting"

    def _joules(self, watts: Watts) -> float:
        return sum(watts(at) * took_s for at, took_s in self._pieces())

    def _pieces(self) -> list[tuple[float, float]]:
        """The day in pieces within which nothing changes: a moment in each, and how long it is."""
        edges = {self._began, self._until}
        for spans in (self._busy, self._context, self._resident, self._low, self._alone):
            edges |= {edge for span in spans.spans for edge in span if self._began < edge < self._until}
        ordered = sorted(edges)
        return [((begin + end) / 2, end - begin) for begin, end in itertools.pairwise(ordered)]


def _one_by_one(jobs: Sequence[Job], alone_s: Callable[[Job], float]) -> Iterable[tuple[float, float]]:
    """When each text would be spoken by a device that takes one after the other, as they came."""
    free_at = 0.0
    for job in jobs:
        begin = max(job.created_at, free_at)
        free_at = begin + alone_s(job)
        yield begin, free_at
