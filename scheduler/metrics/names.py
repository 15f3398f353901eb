"""The scheduler's metrics by name, in Prometheus's conventions: type, labels and help text."""

from __future__ import annotations

from typing import Final

from stentor.devices.registry import DeviceState

GAUGE: Final = "gauge"
COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"
STATES: Final[tuple[str, ...]] = tuple(DeviceState)
#: Results of attempts to deliver a webhook. ``pending``: another attempt follows.
RESULTS: Final = ("succeeded", "failed", "pending", "skipped")
CLOCKS: Final = ("low", "normal", "unavailable")

#: The classes of times from submission to outcome end at these powers of 2, in seconds, as ``shared/outcomes.lua``
#: counts them. Longer times count under the next power.
TOOK_POWERS: Final = range(-2, 17)
TOOK_CLASSES_S: Final = tuple(2.0**power for power in TOOK_POWERS)

#: Name -> type, labels, help text. Prometheus adds ``_total`` to the name of a counter.
CLUSTER: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "stentor_jobs_waiting": (GAUGE, ("model", "priority"), "Jobs that wait for a device."),
    "stentor_oldest_wait_seconds": (GAUGE, ("model", "priority"), "How long the oldest waiting job has waited."),
    "stentor_backlog_seconds": (
        GAUGE,
        ("model", "priority"),
        "How long one device would take to speak the waiting jobs, at the devices' average speed.",
    ),
    "stentor_priority_held": (GAUGE, ("priority",), "1 while this priority is held back, as in an unload window."),
    "stentor_jobs": (COUNTER, ("outcome", "code"), "Jobs and rows of bulks with this outcome."),
    "stentor_job_seconds": (
        HISTOGRAM,
        ("priority",),
        "Time from submission to outcome, of jobs that succeeded or failed.",
    ),
    "stentor_devices": (GAUGE, ("state",), "Devices in this state."),
    "stentor_models_resident": (GAUGE, ("model",), "Devices with this model loaded."),
    "stentor_batch_rows": (HISTOGRAM, ("device",), "Rows of a forward pass."),
    "stentor_batch_seconds": (HISTOGRAM, ("device",), "How long a forward pass took."),
    "stentor_batch_cost": (COUNTER, ("device",), "Cost of all rows without padding, in the engine's own unit."),
    "stentor_batch_padded_cost": (COUNTER, ("device",), "Cost of all rows with padding, in the engine's own unit."),
    "stentor_audio_seconds": (COUNTER, ("device",), "Audio produced."),
    "stentor_webhook_events": (GAUGE, (), "Webhook events without deliveries yet."),
    "stentor_webhook_deliveries_waiting": (GAUGE, (), "Deliveries that wait for their first or next attempt."),
    "stentor_webhook_endpoints_due": (GAUGE, (), "Endpoints with a due delivery."),
    "stentor_webhook_oldest_due_seconds": (GAUGE, (), "How long the first due delivery has been due; 0 without any."),
    "stentor_webhook_attempts": (COUNTER, ("result",), "Attempts to deliver with this result."),
    "stentor_queue_messages": (GAUGE, ("queue",), "Messages that wait in a Celery queue."),
    "stentor_bulks_active": (GAUGE, (), "Bulks that are not finished."),
}
HOST: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "stentor_build_info": (GAUGE, ("version", "python"), "Always 1; the labels name the release."),
    "stentor_redis_up": (GAUGE, (), "1 if Redis answered when this scheduler last asked, else 0."),
    "stentor_scheduler_leader": (GAUGE, (), "1 while this scheduler acts for the cluster."),
    "stentor_scheduler_tick_timestamp_seconds": (GAUGE, (), "When the last successful tick ended."),
    "stentor_scheduler_tick_seconds": (HISTOGRAM, (), "How long a tick took."),
    "stentor_device_clocks": (GAUGE, ("device", "state"), "1 for the present state of the clocks of the device's GPU."),
    "stentor_gpu_info": (GAUGE, ("gpu", "name"), "Always 1; the labels name the UUID and the product of a GPU."),
    "stentor_gpu_memory_used_bytes": (GAUGE, ("gpu",), "Memory in use, by all processes."),
    "stentor_gpu_memory_total_bytes": (GAUGE, ("gpu",), "Memory of the GPU."),
    "stentor_gpu_energy_joules": (COUNTER, ("gpu",), "Energy since the driver was loaded."),
    "stentor_gpu_power_watts": (GAUGE, ("gpu",), "Power."),
    "stentor_gpu_temperature_celsius": (GAUGE, ("gpu",), "Temperature."),
    "stentor_gpu_utilization_ratio": (GAUGE, ("gpu",), "Share of time in which a kernel ran, 0 to 1."),
    "stentor_gpu_sm_clock_hertz": (GAUGE, ("gpu",), "Clock of the multiprocessors."),
    "stentor_gpu_memory_clock_hertz": (GAUGE, ("gpu",), "Clock of the memory."),
    "stentor_host_cpu_ratio": (GAUGE, (), "Share of all cores that was busy since the previous scrape, 0 to 1."),
    "stentor_host_load": (
        GAUGE,
        ("minutes",),
        "Average number of running or runnable processes over 1, 5 and 15 minutes.",
    ),
    "stentor_host_memory_used_bytes": (GAUGE, (), "Memory that is not available."),
    "stentor_host_memory_total_bytes": (GAUGE, (), "Memory of the machine."),
    "stentor_host_disk_free_bytes": (GAUGE, ("place",), "Free space for working files and for temporary ones."),
}
ALL: Final = CLUSTER | HOST


def help_of(name: str) -> str:
    """The help text of a metric."""
    return ALL[name][2]
