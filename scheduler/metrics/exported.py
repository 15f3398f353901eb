"""The scheduler's metrics by name, in Prometheus's conventions, and how what is known becomes their samples."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from scheduler.metrics.system import Figures, by_gpu
from scheduler.policy import Clocks
from stentor.devices.nvml import Reading
from stentor.devices.registry import (
    BUSY,
    FAILED,
    GONE,
    IDLE,
    SIZE_CLASSES,
    STARTING,
    TIME_CLASSES_S,
    UNLOADED,
    DeviceStatus,
)
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import LaneState

GAUGE: Final = "gauge"
COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"
STATES: Final = (STARTING, IDLE, BUSY, UNLOADED, FAILED, GONE)
#: Of attempts to deliver; ``pending`` is one that is followed by another.
RESULTS: Final = ("succeeded", "failed", "pending", "skipped")
CLOCKS: Final = ("low", "normal", "unavailable")

#: Powers of 2 at which the classes of times from submission to outcome end, in seconds, as
#: ``shared/outcomes.lua`` counts them; longer times are counted under the next one.
TOOK_POWERS: Final = range(-2, 17)
TOOK_CLASSES_S: Final = tuple(2.0**power for power in TOOK_POWERS)

#: Name -> type, labels, and what it is. A counter's name has ``_total`` behind it when it is told.
CLUSTER: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "stentor_jobs_waiting": (GAUGE, ("model", "priority"), "Jobs that no device holds."),
    "stentor_oldest_wait_seconds": (GAUGE, ("model", "priority"), "How long the oldest of them has waited."),
    "stentor_backlog_seconds": (
        GAUGE,
        ("model", "priority"),
        "How long one device would take to speak them, at the speed of devices so far.",
    ),
    "stentor_priority_held": (GAUGE, ("priority",), "1 while no device takes this priority, as in a window."),
    "stentor_jobs": (COUNTER, ("outcome", "code"), "Jobs and rows of bulks that got this outcome."),
    "stentor_job_seconds": (HISTOGRAM, ("priority",), "How long those that were spoken or failed took."),
    "stentor_devices": (GAUGE, ("state",), "Devices in this state."),
    "stentor_models_resident": (GAUGE, ("model",), "Devices that have this model."),
    "stentor_batch_rows": (HISTOGRAM, ("device",), "Rows of a forward pass."),
    "stentor_batch_seconds": (HISTOGRAM, ("device",), "How long a forward pass took."),
    "stentor_batch_cost": (COUNTER, ("device",), "Cost of all rows alone, in the engine's own unit."),
    "stentor_batch_padded_cost": (COUNTER, ("device",), "The same with padding."),
    "stentor_audio_seconds": (COUNTER, ("device",), "Audio made."),
    "stentor_webhook_events": (GAUGE, (), "Events of which no deliveries were made yet."),
    "stentor_webhook_deliveries_waiting": (GAUGE, (), "Deliveries that wait, for their first or their next attempt."),
    "stentor_webhook_endpoints_due": (GAUGE, (), "Endpoints to which something is due."),
    "stentor_webhook_oldest_due_seconds": (GAUGE, (), "For how long the first of it has been due; 0 if nothing is."),
    "stentor_webhook_attempts": (COUNTER, ("result",), "Attempts to deliver that had this result."),
    "stentor_queue_messages": (GAUGE, ("queue",), "Messages that wait in a queue of Celery's."),
    "stentor_bulks_active": (GAUGE, (), "Bulks that are not done with."),
}
HOST: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "stentor_build_info": (GAUGE, ("version", "python"), "Always 1; what runs here is in its labels."),
    "stentor_redis_up": (GAUGE, (), "1 if Redis answered when this scheduler last asked, else 0."),
    "stentor_scheduler_leader": (GAUGE, (), "1 while this scheduler acts for the cluster."),
    "stentor_scheduler_tick_timestamp_seconds": (GAUGE, (), "When the last tick ended well."),
    "stentor_scheduler_tick_seconds": (HISTOGRAM, (), "How long a tick took."),
    "stentor_device_clocks": (GAUGE, ("device", "state"), "1 for how the clocks of the device's GPU are."),
    "stentor_gpu_info": (GAUGE, ("gpu", "name"), "Always 1; the product of a GPU, which is named by its UUID."),
    "stentor_gpu_memory_used_bytes": (GAUGE, ("gpu",), "Memory in use, by whomever."),
    "stentor_gpu_memory_total_bytes": (GAUGE, ("gpu",), "Memory that it has."),
    "stentor_gpu_energy_joules": (COUNTER, ("gpu",), "Energy since the driver was loaded."),
    "stentor_gpu_power_watts": (GAUGE, ("gpu",), "Power."),
    "stentor_gpu_temperature_celsius": (GAUGE, ("gpu",), "Temperature."),
    "stentor_gpu_utilization_ratio": (GAUGE, ("gpu",), "Share of time in which a kernel ran, 0 to 1."),
    "stentor_gpu_sm_clock_hertz": (GAUGE, ("gpu",), "Clock of the multiprocessors."),
    "stentor_gpu_memory_clock_hertz": (GAUGE, ("gpu",), "Clock of the memory."),
    "stentor_host_cpu_ratio": (GAUGE, (), "Share of all cores that was busy since the scrape before, 0 to 1."),
    "stentor_host_load": (GAUGE, ("minutes",), "Processes that ran or wanted to, on average over 1, 5 and 15 minutes."),
    "stentor_host_memory_used_bytes": (GAUGE, (), "Memory that is not available."),
    "stentor_host_memory_total_bytes": (GAUGE, (), "Memory of the machine."),
    "stentor_host_disk_free_bytes": (GAUGE, ("place",), "Free space for working files and for temporary ones."),
}
ALL: Final = CLUSTER | HOST

#: Of a reading: metric, attribute, and how many of the metric's unit one of the attribute's is.
_OF_A_GPU: Final = (
    ("stentor_gpu_memory_used_bytes", "memory_used_bytes", 1),
    ("stentor_gpu_memory_total_bytes", "memory_total_bytes", 1),
    ("stentor_gpu_energy_joules", "energy_j", 1),
    ("stentor_gpu_power_watts", "power_w", 1),
    ("stentor_gpu_temperature_celsius", "temperature_c", 1),
    ("stentor_gpu_utilization_ratio", "utilization_percent", 0.01),
    ("stentor_gpu_sm_clock_hertz", "sm_clock_mhz", 1e6),
    ("stentor_gpu_memory_clock_hertz", "memory_clock_mhz", 1e6),
)


def help_of(name: str) -> str:
    """What a metric is, in words."""
    return ALL[name][2]


class Exported:
    """Samples, gathered part by part. What is not known is not called, and so is absent and not 0."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def families(self) -> list[Metric]:
        """All metrics that have samples."""
        return list(self._families.values())

    def _family(self, name: str) -> Metric:
        if name not in self._families:
            kind, labels, text = ALL[name]
            made = {GAUGE: GaugeMetricFamily, COUNTER: CounterMetricFamily, HISTOGRAM: HistogramMetricFamily}[kind]
            self._families[name] = made(name, text, labels=labels)
        return self._families[name]

    def _put(self, name: str, value: float, *labels: str) -> None:
        self._family(name).add_metric(labels, value)  # type: ignore[attr-defined]

    def _histogram(self, name: str, ends: Sequence[float], counts: Sequence[int], total: float, label: str) -> None:
        """Counts by class as Prometheus has them: each class holds those before it."""
        names = [*map(floatToGoString, ends), "+Inf"]
        buckets = list(zip(names, itertools.accumulate(counts), strict=True))
        self._family(name).add_metric([label], buckets, sum_value=total)  # type: ignore[attr-defined]

    def build(self) -> None:
        """Which release runs."""
        self._put("stentor_build_info", 1, importlib.metadata.version("stentor"), platform.python_version())

    def machine(self, figures: Figures) -> None:
        """CPU, memory and disks of this machine."""
        if figures.cpu_ratio is not None:
            self._put("stentor_host_cpu_ratio", figures.cpu_ratio)
        for minutes, load in zip(("1", "5", "15"), figures.load, strict=True):
            self._put("stentor_host_load", load, minutes)
        self._put("stentor_host_memory_used_bytes", figures.memory_used_bytes)
        self._put("stentor_host_memory_total_bytes", figures.memory_total_bytes)
        for place, free_bytes in figures.disk_free_bytes.items():
            self._put("stentor_host_disk_free_bytes", free_bytes, place)

    def redis(self, *, answers: bool) -> None:
        """Whether it answered."""
        self._put("stentor_redis_up", answers)

    def scheduler(self, now: float, *, is_leader: bool) -> None:
        """The scheduler itself."""
        self._put("stentor_scheduler_leader", is_leader)
        self._put("stentor_scheduler_tick_timestamp_seconds", now)

    def gpus(self, clocks: Mapping[str, Clocks], readings: Mapping[str, Reading]) -> None:
        """This machine's GPUs; one that several devices share is told once."""
        for device, found in clocks.items():
            for state in CLOCKS:
                self._put("stentor_device_clocks", state == found.state, device, state)
        for reading in by_gpu(readings.values()):
            self._put("stentor_gpu_info", 1, reading.uuid, reading.name)
            for name, attribute, factor in _OF_A_GPU:
                if (value := getattr(reading, attribute)) is not None:
                    self._put(name, value * factor, reading.uuid)

    def lanes(self, now: float, lanes: Iterable[LaneState]) -> None:
        """What waits, over all length classes."""
        waiting: Counter[tuple[str, str]] = Counter()
        oldest_s: defaultdict[tuple[str, str], float] = defaultdict(float)
        for state in lanes:
            at = (state.lane.model, state.lane.priority)
            waiting[at] += state.waiting
            oldest_s[at] = max(oldest_s[at], state.wait_s(now))
        for at, count in sorted(waiting.items()):
            self._put("stentor_jobs_waiting", count, *at)
            self._put("stentor_oldest_wait_seconds", oldest_s[at], *at)

    def backlog(self, seconds: Mapping[tuple[str, str], float]) -> None:
        """What waits, in seconds of work for one device."""
        for at, work_s in sorted(seconds.items()):
            self._put("stentor_backlog_seconds", work_s, *at)

    def held(self, held: Collection[str] | None) -> None:
        """Which priorities wait for a window to end."""
        for priority in PRIORITIES if held is not None else ():
            self._put("stentor_priority_held", priority in (held or ()), priority)

    def devices(self, statuses: Iterable[DeviceStatus]) -> None:
        """All devices, and what their processes have done; counts begin anew with each process, as counters may."""
        states, models = Counter(dict.fromkeys(STATES, 0)), Counter[str]()
        for status in statuses:
            states[status.state] += 1
            if status.model is not None and status.state != GONE:
                models[status.model] += 1
            self._histogram("stentor_batch_rows", SIZE_CLASSES, status.sizes, status.rows, status.id)
            self._histogram("stentor_batch_seconds", TIME_CLASSES_S, status.times, status.busy_s, status.id)
            self._put("stentor_batch_cost", status.cost, status.id)
            self._put("stentor_batch_padded_cost", status.padded_cost, status.id)
            self._put("stentor_audio_seconds", status.audio_s, status.id)
        for state, count in states.items():
            self._put("stentor_devices", count, state)
        for model, count in sorted(models.items()):
            self._put("stentor_models_resident", count, model)

    def gathered(
        self,
        now: float,
        *,
        outcomes: Mapping[str, int],
        took: Mapping[str, Sequence[int]],
        took_s: Mapping[str, float],
        attempts: Mapping[str, int],
        outbox: int,
        deliveries: int,
        endpoints_due: int,
        due_since: float | None,
        queues: Mapping[str, int],
        bulks_active: int,
    ) -> None:
        """What Redis counts: outcomes, webhooks, Celery's queues, bulks."""
        for outcome, count in sorted({"succeeded": 0, "canceled": 0, **outcomes}.items()):
            state, _, code = outcome.partition(":")
            self._put("stentor_jobs", count, state, code)
        for priority in PRIORITIES:
            counts = took.get(priority, (0,) * (len(TOOK_CLASSES_S) + 1))
            self._histogram("stentor_job_seconds", TOOK_CLASSES_S, counts, took_s.get(priority, 0.0), priority)
        for result in RESULTS:
            self._put("stentor_webhook_attempts", attempts.get(result, 0), result)
        self._put("stentor_webhook_events", outbox)
        self._put("stentor_webhook_deliveries_waiting", deliveries)
        self._put("stentor_webhook_endpoints_due", endpoints_due)
        self._put("stentor_webhook_oldest_due_seconds", max(0.0, now - due_since) if due_since is not None else 0.0)
        for queue, length in queues.items():
            self._put("stentor_queue_messages", length, queue)
        self._put("stentor_bulks_active", bulks_active)
