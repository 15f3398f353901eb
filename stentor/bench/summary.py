"""Figures of what a bench has seen: functions of their arguments."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

from stentor.bench.observed import Beat, Recording, Spoken
from stentor.devices.registry import DeviceState
from stentor.jobs.job import JobState


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """How long something took, in seconds; percentiles by nearest rank, so that each was really seen."""

    count: int
    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, values_s: Iterable[float]) -> Self | None:
        """The latency of these; None if there are none."""
        ordered = sorted(values_s)
        if not ordered:
            return None
        return cls(
            count=len(ordered),
            mean_s=sum(ordered) / len(ordered),
            p50_s=percentile(ordered, 50),
            p90_s=percentile(ordered, 90),
            p99_s=percentile(ordered, 99),
            max_s=ordered[-1],
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least of the values, in order, that at least ``percent`` of them do not exceed."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """The texts of one priority."""

    priority: str
    texts: int
    failed: int
    #: From the API's taking it to a device's claiming it, and to its audio's being stored and settled, by their clocks.
    to_claimed: Latency | None
    to_stored: Latency | None
    #: From sending the POST to holding the outcome, by the bench's clock; of the texts that were watched.
    to_seen: Latency | None

    @classmethod
    def of(cls, priority: str, texts: Sequence[Spoken]) -> Self:
        """The group of these texts; only those that succeeded have a latency."""
        good = [one for one in texts if one.state == JobState.SUCCEEDED]
        return cls(
            priority=priority,
            texts=len(texts),
            failed=len(texts) - len(good),
            to_claimed=Latency.of(_spans(good, "started_at")),
            to_stored=Latency.of(_spans(good, "settled_at")),
            to_seen=Latency.of(one.seen_after_s for one in good if one.seen_after_s is not None),
        )


def _spans(texts: Iterable[Spoken], until: str) -> list[float]:
    pairs = [(one.created_at, getattr(one, until)) for one in texts]
    return [end - begin for begin, end in pairs if begin is not None and end is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """One forward pass that spoke texts of this bench, and when the last of them was settled."""

    settled_at: float
    size: int
    padding: float


def batches(texts: Iterable[Spoken]) -> list[Batch]:
    """The forward passes of these texts, in the order in which they were settled."""
    found: dict[str, Batch] = {}
    for one in texts:
        if one.batch_id is None or one.settled_at is None:
            continue
        before = found.get(one.batch_id)
        settled_at = max(one.settled_at, before.settled_at if before else 0.0)
        found[one.batch_id] = Batch(settled_at=settled_at, size=one.batch_size, padding=one.batch_padding)
    return sorted(found.values(), key=lambda batch: batch.settled_at)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stretch:
    """What share of the time between two reports a device spent in forward passes."""

    device: str
    begin_at: float
    end_at: float
    busy_s: float

    @property
    def share(self) -> float:
        """0 to 1. (A pass is counted when it ends; one that began before the stretch would give more than 1.)"""
        return min(1.0, self.busy_s / max(self.end_at - self.begin_at, 1e-9))


def stretches(beats: Iterable[Beat]) -> list[Stretch]:
    """The time between the reports of each device. A new process counts from 0 again."""
    by_device: dict[str, list[Beat]] = {}
    for beat in beats:
        if beat.state != DeviceState.GONE:
            by_device.setdefault(beat.device, []).append(beat)
    return [
        Stretch(
            device=device,
            begin_at=before.seen_at,
            end_at=after.seen_at,
            busy_s=after.busy_s - (before.busy_s if after.pid == before.pid else 0.0),
        )
        for device, reports in by_device.items()
        for before, after in pairwise(reports)
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of one run."""

    texts: int
    failed: int
    #: Code of an error -> how many texts it met.
    errors: dict[str, int]
    #: From the first text's being taken to the last one's being settled, by the service's clocks.
    wall_s: float
    audio_s: float
    audio_s_per_s: float
    texts_per_s: float
    #: Forward passes that spoke these texts, and the segments in them.
    batches: int
    batch_size_mean: float
    batch_size_max: int
    padding_mean: float
    devices: int
    #: Share of ``wall_s`` that the devices spent in forward passes, for anybody.
    busy_share: float | None
    #: How much later than planned the bench sent a request, at most.
    late_s: float
    groups: list[Group]


def summarise(recording: Recording) -> Summary:
    """The figures of a recording."""
    texts = recording.texts
    good = [one for one in texts if one.state == JobState.SUCCEEDED]
    begins = [one.created_at for one in texts if one.created_at is not None]
    ends = [one.settled_at for one in texts if one.settled_at is not None]
    wall_s = max(ends) - min(begins) if begins and ends else 0.0
    passes = batches(texts)
    busy = stretches(recording.beats)
    devices = len({beat.device for beat in recording.beats if beat.state != DeviceState.GONE})
    audio_s = sum(one.audio_s for one in good)
    per_s = 1 / wall_s if wall_s else 0.0
    priorities = sorted({one.priority for one in texts})
    return Summary(
        texts=len(texts),
        failed=len(texts) - len(good),
        errors=dict(Counter(one.error or one.state for one in texts if one.state != JobState.SUCCEEDED)),
        wall_s=wall_s,
        audio_s=audio_s,
        audio_s_per_s=audio_s * per_s,
        texts_per_s=len(good) * per_s,
        batches=len(passes),
        batch_size_mean=_mean([batch.size for batch in passes]),
        batch_size_max=max((batch.size for batch in passes), default=0),
        padding_mean=_mean([batch.padding for batch in passes]),
        devices=devices,
        busy_share=min(1.0, sum(one.busy_s for one in busy) * per_s / devices) if busy else None,
        late_s=recording.late_s,
        groups=[Group.of(name, [one for one in texts if one.priority == name]) for name in priorities],
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
