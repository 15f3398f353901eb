"""Computes the results of a bench from its recording. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

from stentor.bench.observed import Beat, BenchRecording, TextResult
from stentor.devices.registry import DeviceState
from stentor.jobs.job import JobState


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """A distribution of times, in seconds. Percentiles are by nearest rank, so each is a measured value."""

    count: int
    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, values_s: Iterable[float]) -> Self | None:
        """The distribution of these values; None without values."""
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
    """The smallest of the sorted values that at least ``percent`` percent of them do not exceed."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencyGroup:
    """The texts of one priority."""

    priority: str
    texts: int
    failed: int
    #: From acceptance by the API until a device claims it, and until its audio is stored, by the service's clocks.
    to_claimed: Latency | None
    to_stored: Latency | None
    #: From sending the POST until the client has the outcome, by the bench's clock; only of watched texts.
    to_seen: Latency | None

    @classmethod
    def of(cls, priority: str, texts: Sequence[TextResult]) -> Self:
        """The group of these texts. Only texts that succeeded have a latency."""
        good = [one for one in texts if one.state == JobState.SUCCEEDED]
        return cls(
            priority=priority,
            texts=len(texts),
            failed=len(texts) - len(good),
            to_claimed=Latency.of(_spans(good, "started_at")),
            to_stored=Latency.of(_spans(good, "settled_at")),
            to_seen=Latency.of(one.seen_after_s for one in good if one.seen_after_s is not None),
        )


def _spans(texts: Iterable[TextResult], until: str) -> list[float]:
    pairs = [(one.created_at, getattr(one, until)) for one in texts]
    return [end - begin for begin, end in pairs if begin is not None and end is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """One forward pass with texts of this bench, and when the last of them was settled."""

    settled_at: float
    size: int
    padding: float


def batches(texts: Iterable[TextResult]) -> list[Batch]:
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
    """The time of a device between two reports, and how much of it were forward passes."""

    device: str
    begin_at: float
    end_at: float
    busy_s: float

    @property
    def share(self) -> float:
        """The busy share, 0 to 1. Capped, because a pass counts when it ends, although it may have begun before."""
        return min(1.0, self.busy_s / max(self.end_at - self.begin_at, 1e-9))


def stretches(beats: Iterable[Beat]) -> list[Stretch]:
    """The stretches between the reports of each device. The counters of a new process start at 0."""
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
    """The results of one run."""

    texts: int
    failed: int
    #: Error code -> number of texts.
    errors: dict[str, int]
    #: From acceptance of the first text to settlement of the last, by the service's clocks.
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
    #: Share of ``wall_s`` that the devices spent in forward passes, for all clients.
    busy_share: float | None
    #: Maximum delay of a request against the plan.
    late_s: float
    groups: list[LatencyGroup]


def summarise(recording: BenchRecording) -> Summary:
    """The results of a recording."""
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
        groups=[LatencyGroup.of(name, [one for one in texts if one.priority == name]) for name in priorities],
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
