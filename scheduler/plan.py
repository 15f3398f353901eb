"""What the policy reads and what it answers: rules, devices, waiting texts, and the plan made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from scheduler.reasons import duration
from stentor.devices.overrides import NO_OVERRIDE, UNLOADED, Override
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.devices.windows import Spell, Windows
from stentor.jobs.job import PRIORITIES
from stentor.settings import Settings

#: The state of clocks that cannot be set.
UNAVAILABLE: Final = "unavailable"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The settings that the policy follows; see ``stentor.settings``."""

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
        return cls(
            windows=Windows.parse(settings.unload_windows),
            window_bulk=settings.window_bulk,
            unload_grace_s=settings.unload_grace_s,
            idle_unload_s=settings.idle_unload_s,
            prewarm_s=settings.prewarm_s,
            idle_clocks_s=settings.idle_clocks_s,
            dwell_s=settings.dwell_s,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clocks:
    """The present clocks of a GPU."""

    #: ``low``, ``normal`` or ``unavailable``.
    state: str
    #: When this state began, seconds since the epoch.
    since: float
    #: Why they are unavailable, for a person.
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeviceView:
    """One device as the policy sees it."""

    status: DeviceStatus
    override: Override = NO_OVERRIDE
    #: None for a device of another host: the scheduler of that host sets its clocks.
    clocks: Clocks | None = None

    @property
    def ordered_by(self) -> str:
        """Who gave the override."""
        return self.override.by or "an operator"

    def override_at(self, now: float) -> Override:
        """The override that is valid at ``now``."""
        ends = self.override.expires_at
        return NO_OVERRIDE if ends is not None and ends <= now else self.override


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """What one device should do, each part with its reason for a person."""

    #: ``resident``, ``unloaded``, or None to leave it as it is.
    residency: str | None
    residency_reason: str
    #: ``low``, ``normal``, or None where clocks cannot be set.
    clocks: str | None
    clocks_reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """The texts that wait for one model and that devices may claim now."""

    texts: int
    #: The most urgent one's.
    priority: str
    oldest_wait_s: float

    @property
    def words(self) -> str:
        """The same for a person."""
        texts = "1 text waits" if self.texts == 1 else f"{self.texts} texts wait"
        return f"{texts}, {self.priority}, for {duration(self.oldest_wait_s)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What every device should do, by id, and which priorities are held back."""

    wants: Mapping[str, Want]
    held: frozenset[str] = frozenset()
    held_reason: str = ""
    #: Texts that are not held back, by model.
    waiting: Mapping[str, Waiting] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """What is the same for all devices at one moment."""

    now: float
    rules: Rules
    #: The open window. None while models are loaded again before it ends.
    window: Spell | None
    #: Whether models are loaded again because the window ends soon.
    prewarms: bool
    waiting: Mapping[str, Waiting]
    #: Idle devices that should have normal clocks because texts wait.
    expectant: AbstractSet[str] = frozenset()

    def work_for(self, status: DeviceStatus) -> Waiting | None:
        """The most urgent waiting texts that this device can speak; None without any."""
        found = [self.waiting[model] for model in status.models if model in self.waiting]
        return min(found, key=lambda one: (PRIORITIES.index(one.priority), -one.oldest_wait_s), default=None)


def idle_since(status: DeviceStatus) -> float:
    """When the device last worked or changed its state."""
    if status.state == DeviceState.GONE:
        return status.seen_at
    if status.state in {UNLOADED, DeviceState.FAILED}:
        return max(status.state_at, status.started_at)
    return max(status.spoke_at or 0.0, status.loaded_at or 0.0, status.started_at)
