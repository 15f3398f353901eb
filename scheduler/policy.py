"""What is wanted of each device: whether its model stays, and how fast its GPU's clocks run. Pure: time is an argument.

Nothing here asks Redis, NVML or a clock. ``decide`` is called once a tick with all that is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from stentor.devices import DeviceStatus
from stentor.lanes import LaneState
from stentor.overrides import NO_OVERRIDE, Override
from stentor.settings import Settings
from stentor.windows import Windows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What was set. Units are in the names; see ``stentor.settings``."""

    windows: Windows
    window_bulk: str = "hold"
    unload_grace_s: float = 60.0
    idle_unload_s: float | None = None
    prewarm_s: float = 120.0
    idle_clocks_s: float = 300.0
    dwell_s: float = 300.0

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules of the settings."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clocks:
    """How a GPU's clocks are now."""

    #: ``low``, ``normal`` or ``unavailable``.
    state: str
    #: When they became so, seconds since the epoch.
    since: float
    #: Why they are unavailable, in words.
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceView:
    """One device as the policy sees it."""

    status: DeviceStatus
    override: Override = NO_OVERRIDE
    #: None for a device of another host: its own scheduler keeps its clocks.
    clocks: Clocks | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Want:
    """What is wanted of one device, each with its reason in words."""

    #: ``resident``, ``unloaded``, or None to leave it as it is.
    residency: str | None
    residency_reason: str
    #: ``low``, ``normal``, or None where there are none to set.
    clocks: str | None
    clocks_reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is wanted of all devices, by id, and which priorities are held back."""

    wants: Mapping[str, Want]
    held: frozenset[str] = frozenset()
    held_reason: str = ""


def decide(now: float, rules: Rules, lanes: Sequence[LaneState], devices: Sequence[DeviceView]) -> Plan:
    """What is wanted at ``now`` (seconds since the epoch)."""
    raise NotImplementedError
