"""Whether a device keeps its model, loads it, or unloads it. Pure: time is an argument."""

from __future__ import annotations

from scheduler.plan import DeviceView, Moment, idle_since
from scheduler.reasons import duration, outside_windows, within_window
from stentor.devices.overrides import RESIDENT, UNLOADED
from stentor.devices.registry import DeviceState, DeviceStatus


def residency_for(moment: Moment, view: DeviceView) -> tuple[str | None, str]:
    """``resident``, ``unloaded`` or None (leave it as it is), and why."""
    status, order = view.status, view.override_at(moment.now).residency
    if status.state in {DeviceState.GONE, DeviceState.FAILED, DeviceState.STARTING}:
        return None, f"the device is {status.state}"
    if order == RESIDENT:
        return RESIDENT, f"{view.ordered_by} ordered it to stay loaded"
    if status.state == DeviceState.BUSY:
        return RESIDENT, "the device is busy"
    if (work := moment.work_for(status)) is not None:
        return RESIDENT, work.words
    if order == UNLOADED:
        return _unload_after(moment, status, moment.rules.unload_grace_s, f"{view.ordered_by} ordered it to unload")
    return _residency_by_time(moment, status)


def _residency_by_time(moment: Moment, status: DeviceStatus) -> tuple[str | None, str]:
    rules = moment.rules
    if moment.window is not None:
        after_s, why = rules.unload_grace_s, within_window(moment.window, moment.now)
    elif rules.idle_unload_s is None:
        return RESIDENT, outside_windows(prewarms=moment.prewarms)
    else:
        after_s, why = rules.idle_unload_s, f"models unload after {duration(rules.idle_unload_s)} without work"
    loaded_s = moment.now - (status.started_at if status.loaded_at is None else status.loaded_at)
    if status.state != UNLOADED and loaded_s < rules.dwell_s:
        return RESIDENT, f"{why}, but it was loaded {duration(loaded_s)} ago"
    return _unload_after(moment, status, after_s, why)


def _unload_after(moment: Moment, status: DeviceStatus, after_s: float, why: str) -> tuple[str, str]:
    if status.state == UNLOADED:
        return UNLOADED, why
    idle_s = moment.now - idle_since(status)
    if idle_s >= after_s:
        return UNLOADED, f"idle for {duration(idle_s)}; {why}"
    return RESIDENT, f"{why}, in {duration(after_s - idle_s)} if nothing comes"
