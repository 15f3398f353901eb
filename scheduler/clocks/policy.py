"""How fast the clocks of a device's GPU should run. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduler.plan import UNAVAILABLE, Clocks, DeviceView, Moment, Want, idle_since
from scheduler.reasons import duration
from stentor.devices.overrides import LOW, NORMAL, UNLOADED
from stentor.devices.registry import DeviceState, DeviceStatus


def clocks_for(moment: Moment, view: DeviceView) -> tuple[str | None, str]:
    """``low``, ``normal`` or None (they cannot be set from here), and why."""
    if view.clocks is None:
        return None, "the scheduler of its own host sets its clocks"
    if view.clocks.state == UNAVAILABLE:
        return None, view.clocks.reason or "its clocks cannot be set"
    order = view.override_at(moment.now).clocks
    if order in {LOW, NORMAL}:
        return order, f"{view.ordered_by} ordered these clocks"
    if view.status.state in {DeviceState.BUSY, DeviceState.STARTING} or view.status.loading_at is not None:
        # A device that loads its model because of an order is still `unloaded`.
        return NORMAL, "it loads its model" if view.status.loading_at else f"the device is {view.status.state}"
    if view.status.id in moment.expectant and (work := moment.work_for(view.status)) is not None:
        return NORMAL, work.words
    return _idle_clocks(moment, view.status, view.clocks)


def _idle_clocks(moment: Moment, status: DeviceStatus, clocks: Clocks) -> tuple[str, str]:
    rules, now = moment.rules, moment.now
    if rules.idle_clocks_s == 0:
        return NORMAL, "STENTOR_IDLE_CLOCKS_S is 0"
    idle_s = now - idle_since(status)
    if clocks.state == LOW and (status.spoke_at or 0.0) <= clocks.since:
        # It may have a new process since then, because it unloaded. That is no work.
        return LOW, f"idle for {duration(idle_s)}"
    if idle_s < rules.idle_clocks_s:
        return NORMAL, f"idle for {duration(idle_s)} of {duration(rules.idle_clocks_s)}"
    if clocks.state != LOW and now - clocks.since < rules.dwell_s:
        return NORMAL, f"its clocks became normal {duration(now - clocks.since)} ago"
    return LOW, f"idle for {duration(idle_s)}"


def expectant_devices(moment: Moment, devices: Iterable[DeviceView]) -> frozenset[str]:
    """The idle devices that most likely speak next, as many as texts wait: those with the model and fast clocks first.

    Otherwise one text would raise the clocks of all GPUs of a host, and they would stay high for the dwell time. A
    device that claims a text without being expected gets its clocks back at once, because it rings.
    """
    able = [
        view
        for view in devices
        if view.clocks is not None
        and view.clocks.state != UNAVAILABLE
        and view.status.state in {DeviceState.IDLE, UNLOADED}
        and not moment.waiting.keys().isdisjoint(view.status.models)
    ]

    def eagerness(view: DeviceView) -> tuple[bool, bool, str]:
        is_low = view.clocks is not None and view.clocks.state == LOW
        return view.status.model not in moment.waiting, is_low, view.status.id

    texts = sum(one.texts for one in moment.waiting.values())
    return frozenset(view.status.id for view in sorted(able, key=eagerness)[:texts])


def gpu_clocks(wants: Mapping[str, Want | None], foreign: Iterable[int]) -> tuple[str | None, str]:
    """``low``, ``normal`` or None for a GPU that these devices (by id) share, and why.

    It gets low clocks only if all its devices want them and no other process (``foreign``, by pid) uses it.
    """
    for device, want in wants.items():
        if want is not None and want.clocks == NORMAL:
            return NORMAL, want.clocks_reason if len(wants) == 1 else f"{device}: {want.clocks_reason}"
    pids = sorted(foreign)
    if pids:
        return NORMAL, f"the GPU is also used by process {', '.join(map(str, pids))}, which is not Stentor's"
    if not wants:
        return NORMAL, "no device uses it any more"
    reasons = [want.clocks_reason for want in wants.values() if want is not None and want.clocks == LOW]
    return (LOW, reasons[0]) if len(reasons) == len(wants) else (None, "no clocks are ordered")
