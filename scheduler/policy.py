"""The decision of one tick: what each device should do, and which priorities wait. Pure: time is an argument.

Nothing here asks Redis, NVML or a clock. ``decide`` is called once a tick with all that is known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

from scheduler.clocks.policy import clocks_for, expectant_devices
from scheduler.plan import DeviceView, Moment, Plan, Rules, Want
from scheduler.reasons import outside_windows, within_window
from scheduler.residency.policy import residency_for
from scheduler.waiting import claimable
from stentor.devices.windows import Spell
from stentor.jobs.lanes import LaneState

#: The priority that a window may hold back; all others bring a model back at any time.
HELD_BACK: Final = "bulk"


def decide(now: float, rules: Rules, lanes: Sequence[LaneState], devices: Sequence[DeviceView]) -> Plan:
    """The plan for ``now`` (seconds since the epoch)."""
    spell = rules.windows.at(now)
    prewarms = spell is not None and now >= spell.end - rules.prewarm_s
    window = None if prewarms else spell
    held, held_reason = _hold(now, rules, window, prewarms=prewarms)
    moment = Moment(now=now, rules=rules, window=window, prewarms=prewarms, waiting=claimable(now, lanes, held))
    moment = dataclasses.replace(moment, expectant=expectant_devices(moment, devices))
    return Plan(
        wants={view.status.id: _want(moment, view) for view in devices},
        held=held,
        held_reason=held_reason,
        waiting=moment.waiting,
    )


def _hold(now: float, rules: Rules, window: Spell | None, *, prewarms: bool) -> tuple[frozenset[str], str]:
    """The priorities that are held back, and why. The reason without any is logged when a hold ends."""
    if window is None:
        return frozenset(), outside_windows(prewarms=prewarms)
    # In a window without an end, a bulk that is held back would never be spoken.
    if rules.window_bulk != "hold" or math.isinf(window.end):
        return frozenset(), f"{within_window(window, now)}; bulks run"
    return frozenset({HELD_BACK}), f"{within_window(window, now)}; bulks wait for it to end"


def _want(moment: Moment, view: DeviceView) -> Want:
    residency, residency_reason = residency_for(moment, view)
    clocks, clocks_reason = clocks_for(moment, view)
    return Want(residency=residency, residency_reason=residency_reason, clocks=clocks, clocks_reason=clocks_reason)
