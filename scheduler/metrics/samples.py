"""How the state of a tick becomes samples of the scheduler's metrics."""

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

from scheduler.metrics.gathering import Gathered
from scheduler.metrics.names import ALL, CLOCKS, COUNTER, GAUGE, HISTOGRAM, RESULTS, STATES, TOOK_CLASSES_S
from scheduler.metrics.system import SystemSample, by_gpu
from scheduler.plan import Clocks
from stentor.devices.nvml import Reading
from stentor.devices.registry import SIZE_CLASSES, TIME_CLASSES_S, DeviceState, DeviceStatus
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import LaneState

#: Metric, attribute of a reading, and the factor from the attribute's unit to the metric's.
_GPU_METRICS: Final = (
    ("stentor_gpu_memory_used_bytes", "memory_used_bytes", 1),
    ("stentor_gpu_memory_total_bytes", "memory_total_bytes", 1),
    ("stentor_gpu_energy_joules", "energy_j", 1),
    ("stentor_gpu_power_watts", "power_w", 1),
    ("stentor_gpu_temperature_celsius", "temperature_c", 1),
    ("stentor_gpu_utilization_ratio", "utilization_percent", 0.01),
    ("stentor_gpu_sm_clock_hertz", "sm_clock_mhz", 1e6),
    ("stentor_gpu_memory_clock_hertz", "memory_clock_mhz", 1e6),
)


class Samples:
    """Collects samples, one part per method. A part that is unknown is left out: it is absent, not 0."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def families(self) -> list[Metric]:
        """All metrics with samples."""
        return list(self._families.values())

    def _family(self, name: str) -> Metric:
        if name not in self._families:
            kind, labels, text = ALL[name]
            family = {GAUGE: GaugeMetricFamily, COUNTER: CounterMetricFamily, HISTOGRAM: HistogramMetricFamily}[kind]
            self._families[name] = family(name, text, labels=labels)
        return self._families[name]

    def _put(self, name: str, value: float, *labels: str) -> None:
        self._family(name).add_metric(labels, value)  # type: ignore[attr-defined]

    def _histogram(self, name: str, ends: Sequence[float], counts: Sequence[int], total: float, label: str) -> None:
        """Add counts by class; in Prometheus each class includes those before it."""
        names = [*map(floatToGoString, ends), "+Inf"]
        buckets = list(zip(names, itertools.accumulate(counts), strict=True))
        self._family(name).add_metric([label], buckets, sum_value=total)  # type: ignore[attr-defined]

    def build(self) -> None:
        """Add the release that runs."""
        self._put("stentor_build_info", 1, importlib.metadata.version("stentor"), platform.python_version())

    def machine(self, sample: SystemSample) -> None:
        """Add CPU, memory and disks of this machine."""
        if sample.cpu_ratio is not None:
            self._put("stentor_host_cpu_ratio", sample.cpu_ratio)
        for minutes, load in zip(("1", "5", "15"), sample.load, strict=True):
            self._put("stentor_host_load", load, minutes)
        self._put("stentor_host_memory_used_bytes", sample.memory_used_bytes)
        self._put("stentor_host_memory_total_bytes", sample.memory_total_bytes)
        for place, free_bytes in sample.disk_free_bytes.items():
            self._put("stentor_host_disk_free_bytes", free_bytes, place)

    def redis(self, *, answers: bool) -> None:
        """Add whether Redis answered."""
        self._put("stentor_redis_up", answers)

    def scheduler(self, now: float, *, is_leader: bool) -> None:
        """Add the scheduler itself."""
        self._put("stentor_scheduler_leader", is_leader)
        self._put("stentor_scheduler_tick_timestamp_seconds", now)

    def gpus(self, clocks: Mapping[str, Clocks], readings: Mapping[str, Reading]) -> None:
        """Add this machine's GPUs. A GPU that several devices share appears once."""
        for device, found in clocks.items():
            for state in CLOCKS:
                self._put("stentor_device_clocks", state == found.state, device, state)
        for reading in by_gpu(readings.values()):
            self._put("stentor_gpu_info", 1, reading.uuid, reading.name)
            for name, attribute, factor in _GPU_METRICS:
                if (value := getattr(reading, attribute)) is not None:
                    self._put(name, value * factor, reading.uuid)

    def lanes(self, now: float, lanes: Iterable[LaneState]) -> None:
        """Add what waits, over all length classes."""
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
        """Add what waits, in seconds of work for one device."""
        for at, work_s in sorted(seconds.items()):
            self._put("stentor_backlog_seconds", work_s, *at)

    def holds(self, held: Collection[str] | None) -> None:
        """Add which priorities wait for a window to end."""
        for priority in PRIORITIES if held is not None else ():
            self._put("stentor_priority_held", priority in (held or ()), priority)

    def devices(self, statuses: Iterable[DeviceStatus]) -> None:
        """Add all devices and the work of their processes. Counters restart at 0 with each process."""
        states, models = Counter(dict.fromkeys(STATES, 0)), Counter[str]()
        for status in statuses:
            states[status.state] += 1
            if status.model is not None and status.state != DeviceState.GONE:
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

    def counts(self, now: float, found: Gathered) -> None:
        """Add what Redis counts: outcomes, webhooks, Celery's queues, bulks."""
        for outcome, count in sorted({"succeeded": 0, "canceled": 0, **found.outcomes}.items()):
            state, _, code = outcome.partition(":")
            self._put("stentor_jobs", count, state, code)
        for priority in PRIORITIES:
            counts = found.took.get(priority, (0,) * (len(TOOK_CLASSES_S) + 1))
            took_s = found.took_s.get(priority, 0.0)
            self._histogram("stentor_job_seconds", TOOK_CLASSES_S, counts, took_s, priority)
        for result in RESULTS:
            self._put("stentor_webhook_attempts", found.attempts.get(result, 0), result)
        self._put("stentor_webhook_events", found.outbox)
        self._put("stentor_webhook_deliveries_waiting", found.deliveries)
        self._put("stentor_webhook_endpoints_due", found.endpoints_due)
        overdue_s = 0.0 if found.due_since is None else max(0.0, now - found.due_since)
        self._put("stentor_webhook_oldest_due_seconds", overdue_s)
        for queue, length in found.queues.items():
            self._put("stentor_queue_messages", length, queue)
        self._put("stentor_bulks_active", found.bulks_active)
