"""What is told to Prometheus: names, and what is made of what a tick knew."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from api.http import metrics as api_metrics
from scheduler.metrics import names as scheduler_metrics
from scheduler.metrics.exporter import SchedulerMetrics, Snapshot
from scheduler.metrics.gathering import Gathered, outcome_counts
from scheduler.metrics.system import SystemLog, gpu_fields
from scheduler.plan import Clocks, Plan
from stentor import log
from stentor.devices.nvml import Reading
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.jobs.lanes import Lane, LaneState
from stentor.settings import Settings
from tests.support.stacks.stack import eventually

#: https://prometheus.io/docs/practices/naming: base units, whole words, at the end.
UNITS = ("seconds", "bytes", "joules", "watts", "celsius", "hertz", "ratio")
#: Names that count things, or say what is.
UNITLESS = (
    "jobs_waiting", "priority_held", "jobs", "devices", "models_resident", "batch_rows", "batch_cost",
    "batch_padded_cost", "webhook_events", "webhook_deliveries_waiting", "webhook_endpoints_due", "queue_messages",
    "webhook_attempts", "redis_up", "bulks_active", "build_info",
    "scheduler_leader", "device_clocks", "gpu_info", "host_load", "http_requests",
    "http_requests_in_flight",
)  # fmt: skip
#: Units that are no base units, and names that Prometheus keeps for itself.
NEVER = re.compile(r"milli|micro|percent|minutes|hours|_mhz|_mb\b|_ms\b|_kwh|_(sum|count|bucket|total|created)$")


def a_reading(**known: Any) -> Reading:
    unknown = dict.fromkeys(
        (
            "energy_j", "power_w", "memory_used_bytes", "memory_total_bytes", "sm_clock_mhz", "memory_clock_mhz",
            "temperature_c", "utilization_percent", "pids",
        )
    )  # fmt: skip
    return Reading(**{"uuid": "GPU-1", "index": 0, "name": "NVIDIA L4", **unknown, **known})


def a_status(device: str = "a/cuda:0", **fields: Any) -> DeviceStatus:
    return DeviceStatus(id=device, pid=1, started_at=0.0, seen_at=0.0, **{"state": DeviceState.IDLE, **fields})


def a_snapshot(**fields: Any) -> Snapshot:
    filled = {"now": time.time(), "statuses": (), "lanes": (), "is_leader": True, "tick_s": 0.02, **fields}
    return Snapshot(**filled)


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Name and values of the labels in order -> value, read as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found[(sample.name, *(value for _, value in sorted(sample.labels.items())))] = sample.value
    return found


def shown(snapshot: Snapshot, **settings: Any) -> dict[tuple[str, ...], float]:
    metrics = SchedulerMetrics(Settings(**settings))
    metrics.show(snapshot)
    return samples(metrics.registry)


# --- names


@pytest.mark.parametrize("name", [*scheduler_metrics.ALL, *api_metrics.METRICS])
def test_a_name_follows_prometheuss_conventions(name: str) -> None:
    Metric(name, "as prometheus-client checks it", "gauge")
    stem = name.removeprefix("stentor_")
    assert re.fullmatch(r"stentor(_[a-z0-9]+)+", name)
    assert not NEVER.search(stem)
    assert stem.endswith(UNITS) or stem in UNITLESS, "its unit is not at its end"


def test_no_label_is_one_that_prometheus_sets_itself() -> None:
    labels = {label for _, names, _ in scheduler_metrics.ALL.values() for label in names}
    labels |= {label for names, _ in api_metrics.METRICS.values() for label in names}
    assert labels.isdisjoint({"job", "instance", "le", "quantile", "host"})


def test_counters_and_no_others_end_in_total() -> None:
    metrics = SchedulerMetrics(Settings())
    metrics.show(everything())
    for family in metrics.registry.collect():
        if family.name.startswith("stentor_"):
            totals = [sample.name for sample in family.samples if sample.name.endswith("_total")]
            assert bool(totals) == (family.type == "counter"), family.name


def everything() -> Snapshot:
    """A snapshot in which all is known."""
    return a_snapshot(
        statuses=[a_status(model="joe")],
        lanes=[LaneState(lane=Lane(model="joe", priority="bulk", length=0), waiting=1, oldest_at=1.0)],
        plan=Plan(wants={}),
        clocks={"a/cuda:0": Clocks(state="low", since=0.0)},
        readings={
            "a/cuda:0": a_reading(
                energy_j=1.0,
                power_w=2.0,
                memory_used_bytes=3,
                memory_total_bytes=4,
                sm_clock_mhz=5,
                memory_clock_mhz=6,
                temperature_c=7,
                utilization_percent=8,
            )
        },
        gathered=gathered(),
    )


def gathered(**fields: Any) -> Gathered:
    filled = {
        "outcomes": {}, "outbox": 0, "deliveries": 0, "endpoints_due": 0, "due_since": None, "queues": {"io": 0},
        "bulks_active": 0, "took": {}, "took_s": {}, "attempts": {},
    }  # fmt: skip
    return Gathered(**{**filled, **fields})


def test_everything_that_is_described_is_exported_and_nothing_else() -> None:
    metrics = SchedulerMetrics(Settings())
    metrics.show(everything())
    names: set[str] = set()

    def told() -> bool:
        names.update(family.name for family in metrics.registry.collect() if family.name.startswith("stentor_"))
        return "stentor_host_cpu_ratio" in names  # known as soon as the clock of the CPU's time has gone on

    eventually(told)
    assert names == set(scheduler_metrics.ALL)


# --- the cluster


def test_lanes_are_summed_over_their_length_classes() -> None:
    now = time.time()
    lanes = [
        LaneState(lane=Lane(model="joe", priority="bulk", length=0), waiting=3, oldest_at=now - 1.5),
        LaneState(lane=Lane(model="joe", priority="bulk", length=7), waiting=4, oldest_at=now - 9.5),
        LaneState(lane=Lane(model="amy", priority="interactive", length=0), waiting=1, oldest_at=now - 0.25),
    ]
    found = shown(a_snapshot(now=now, lanes=lanes, plan=Plan(wants={}, held=frozenset({"bulk"}))))
    assert {key: value for key, value in found.items() if key[0] == "stentor_jobs_waiting"} == {
        ("stentor_jobs_waiting", "joe", "bulk"): 7.0,
        ("stentor_jobs_waiting", "amy", "interactive"): 1.0,
    }
    assert found["stentor_oldest_wait_seconds", "joe", "bulk"] == pytest.approx(9.5)
    # 3 texts of up to 16 characters and 4 of up to 273, at 15 characters a second; nobody has spoken yet.
    assert found["stentor_backlog_seconds", "joe", "bulk"] == pytest.approx((3 * 16 + 4 * 273) / 15)
    assert [found["stentor_priority_held", name] for name in ("interactive", "standard", "bulk")] == [0, 0, 1]


def test_devices_are_counted_by_state_and_their_passes_are_histograms() -> None:
    statuses = [
        a_status(
            state=DeviceState.BUSY, model="joe", rows=70, sizes=(2, 0, 1, 0, 0, 0, 2, 0, 0), busy_s=3.5,
            times=(0, 3, 0, 0, 1, 1, 0, 0, 0, 0), cost=900.0, padded_cost=1200.0, audio_s=60.5,
        ),
        a_status("a/cuda:1", state=DeviceState.UNLOADED),
    ]  # fmt: skip
    found = shown(a_snapshot(statuses=statuses))
    assert {key[1]: value for key, value in found.items() if key[0] == "stentor_devices"} == {
        "starting": 0, "idle": 0, "busy": 1, "unloaded": 1, "failed": 0, "gone": 0
    }  # fmt: skip
    assert found["stentor_models_resident", "joe"] == 1
    rows = {key[2]: value for key, value in found.items() if key[:2] == ("stentor_batch_rows_bucket", "a/cuda:0")}
    assert rows == {"1.0": 2, "2.0": 2, "4.0": 3, "8.0": 3, "16.0": 3, "32.0": 3, "64.0": 5, "128.0": 5, "+Inf": 5}
    assert (found["stentor_batch_rows_count", "a/cuda:0"], found["stentor_batch_rows_sum", "a/cuda:0"]) == (5, 70)
    assert found["stentor_batch_seconds_bucket", "a/cuda:0", "0.1"] == 3
    assert found["stentor_batch_seconds_sum", "a/cuda:0"] == 3.5
    assert found["stentor_batch_cost_total", "a/cuda:0"] == 900
    assert found["stentor_batch_padded_cost_total", "a/cuda:0"] == 1200
    assert found["stentor_audio_seconds_total", "a/cuda:0"] == 60.5


def test_outcomes_have_their_codes_and_what_never_happened_is_there_as_0() -> None:
    told = gathered(outcomes={"succeeded": 41, "failed:engine_crashed": 2}, due_since=time.time() - 30, outbox=5)
    found = shown(a_snapshot(gathered=told))
    jobs = {key[1:]: value for key, value in found.items() if key[0] == "stentor_jobs_total"}
    assert jobs == {("", "succeeded"): 41, ("engine_crashed", "failed"): 2, ("", "canceled"): 0}
    assert found["stentor_webhook_events",] == 5
    assert found["stentor_webhook_oldest_due_seconds",] == pytest.approx(30, abs=2)


def test_times_to_an_outcome_are_read_from_the_counts_and_no_outcome_is_made_of_them() -> None:
    told = outcome_counts(
        {
            "succeeded": 4, "failed:audio_invalid": 1, "took:standard:-2": 2, "took:standard:3": 2, "took:bulk:17": 1,
            "took_ms:standard": 14_250, "webhook:succeeded": 3, "webhook:pending": 7,
        }
    )  # fmt: skip
    found = shown(a_snapshot(gathered=gathered(**told)))
    assert told["outcomes"] == {"succeeded": 4, "failed:audio_invalid": 1}
    buckets = {key[1:]: value for key, value in found.items() if key[0] == "stentor_job_seconds_bucket"}
    assert buckets["0.25", "standard"] == buckets["4.0", "standard"] == 2
    assert buckets["8.0", "standard"] == buckets["65536.0", "standard"] == buckets["+Inf", "standard"] == 4
    assert (buckets["65536.0", "bulk"], buckets["+Inf", "bulk"], buckets["+Inf", "interactive"]) == (0, 1, 0)
    assert found["stentor_job_seconds_sum", "standard"] == 14.25
    attempts = {key[1]: value for key, value in found.items() if key[0] == "stentor_webhook_attempts_total"}
    assert attempts == {"succeeded": 3, "failed": 0, "pending": 7, "skipped": 0}


def test_that_redis_is_away_is_told_and_what_it_was_before_the_first_tick_is_not() -> None:
    metrics = SchedulerMetrics(Settings())
    assert ("stentor_redis_up",) not in samples(metrics.registry)
    metrics.away()
    assert samples(metrics.registry)["stentor_redis_up",] == 0
    metrics.show(a_snapshot())
    assert samples(metrics.registry)["stentor_redis_up",] == 1
    metrics.away()
    assert samples(metrics.registry)["stentor_redis_up",] == 0


def test_one_that_does_not_lead_tells_of_its_own_machine_alone() -> None:
    found = shown(a_snapshot(**{**vars(everything()), "is_leader": False}))
    cluster = {name for name, *_ in found if name.startswith(tuple(scheduler_metrics.CLUSTER))}
    assert cluster == set()
    assert found["stentor_scheduler_leader",] == 0
    assert found["stentor_gpu_power_watts", "GPU-1"] == 2.0


def test_figures_are_gathered_every_5_s_and_last_until_then_but_not_beyond_the_lead() -> None:
    metrics = SchedulerMetrics(Settings(metrics_bind="127.0.0.1:9464"))
    now = time.time()
    assert metrics.due(now, is_leader=True)
    assert not metrics.due(now, is_leader=False)
    metrics.show(a_snapshot(now=now, gathered=gathered(bulks_active=3)))
    assert not metrics.due(now + 4.9, is_leader=True)
    assert metrics.due(now + 5, is_leader=True)
    metrics.show(a_snapshot(now=now + 1))
    assert samples(metrics.registry)["stentor_bulks_active",] == 3
    metrics.show(a_snapshot(now=now + 2, is_leader=False))
    metrics.show(a_snapshot(now=now + 3))
    assert ("stentor_bulks_active",) not in samples(metrics.registry)


def test_nobody_is_asked_for_figures_that_nobody_is_told() -> None:
    assert not SchedulerMetrics(Settings()).due(time.time(), is_leader=True)


def test_what_a_scheduler_knew_long_ago_is_not_told() -> None:
    found = shown(a_snapshot(**{**vars(everything()), "now": time.time() - 60}))
    assert not {name for name, *_ in found if name.startswith(tuple(scheduler_metrics.CLUSTER))}
    assert ("stentor_gpu_power_watts", "GPU-1") not in found
    assert found["stentor_scheduler_tick_timestamp_seconds",] == pytest.approx(time.time() - 60, abs=5)


# --- the machine


def test_what_nvml_does_not_know_is_absent_and_not_0() -> None:
    found = shown(a_snapshot(readings={"a/cuda:0": a_reading(power_w=16.5, utilization_percent=0, sm_clock_mhz=210)}))
    gpu = {key: value for key, value in found.items() if key[0].startswith("stentor_gpu_")}
    assert gpu == {
        ("stentor_gpu_info", "GPU-1", "NVIDIA L4"): 1,
        ("stentor_gpu_power_watts", "GPU-1"): 16.5,
        ("stentor_gpu_utilization_ratio", "GPU-1"): 0,
        ("stentor_gpu_sm_clock_hertz", "GPU-1"): 210e6,
    }


def test_a_gpu_that_two_devices_share_is_told_once() -> None:
    reading = a_reading(energy_j=5.0)
    found = shown(a_snapshot(readings={"a/cuda:0": reading, "a/cuda:1": reading}))
    assert found["stentor_gpu_energy_joules_total", "GPU-1"] == 5.0


def test_clocks_are_one_of_three() -> None:
    found = shown(a_snapshot(clocks={"a/cuda:0": Clocks(state="low", since=0.0)}))
    clocks = {key[2]: value for key, value in found.items() if key[0] == "stentor_device_clocks"}
    assert clocks == {"low": 1, "normal": 0, "unavailable": 0}


def test_the_event_of_the_machine_comes_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(Settings(), room="scheduler")
    system = SystemLog()
    assert system.due(1000.0)
    system.log(1000.0, {"a/cuda:0": a_reading(power_w=16.5)})
    assert [system.due(1059.9), system.due(1060.0)] == [False, True]
    event = json.loads(capsys.readouterr().err)
    assert (event["action"], event["room"], event["level"]) == ("system", "scheduler", "info")
    assert event["gpus"] == [{"uuid": "GPU-1", "name": "NVIDIA L4", "power_w": 16.5}]
    assert 0 < event["memory_used_bytes"] < event["memory_total_bytes"]
    assert set(event["disk_free_bytes"]) == {"working", "temporary"}
    assert "cpu_percent" in event


def test_a_gpu_is_told_in_the_events_own_words() -> None:
    assert gpu_fields(a_reading(temperature_c=41, memory_used_bytes=7)) == {
        "uuid": "GPU-1", "name": "NVIDIA L4", "temperature_c": 41, "memory_used_bytes": 7
    }  # fmt: skip
