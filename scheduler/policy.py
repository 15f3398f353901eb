"""What is wanted of each device: whether its model stays, and how fast its GPU's clocks run. Pure: time is an argument.

Nothing here asks Redis, NVML or a clock. ``decide`` is called once a tick with all that is known.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from stentor.devices.overrides import LOW, NO_OVERRIDE, NORMAL, RESIDENT, UNLOADED, Override
from stentor.devices.registry import BUSY, FAILED, GONE, IDLE, STARTING, DeviceStatus
from stentor.devices.windows import Spell, Windows
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import LaneState
from stentor.settings import Settings


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
    """How a GPU's clocks are now."""

    #: ``low``, ``normal`` or ``unavailable``.
    state: str
    #: When they became so, seconds since the epoch.
    since: float
    #: Why they are unavailable, in words.
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeviceView:
    """One device as the policy sees it."""

    status: DeviceStatus
    override: Override = NO_OVERRIDE
    #: None for a device of another host: its own scheduler keeps its clocks.
    clocks: Clocks | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """What is wanted of one device, each with its reason in words."""

    #: ``resident``, ``unloaded``, or None to leave it as it is.
    residency: str | None
    residency_reason: str
    #: ``low``, ``normal``, or None where there are none to set.
    clocks: str | None
    clocks_reason: str


#: The state of clocks that cannot be set.
UNAVAILABLE: Final = "unavailable"
#: The priority that a window may hold back; all others bring a model back at any time.
HELD_BACK: Final = "bulk"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What waits for a model that devices may claim now."""

    texts: int
    priority: str
    oldest_wait_s: float

    @property
    def words(self) -> str:
        """The same for a person."""
        texts = "1 text waits" if self.texts == 1 else f"{self.texts} texts wait"
        return f"{texts}, {self.priority}, for {_for(self.oldest_wait_s)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is wanted of all devices, by id, and which priorities are held back."""

    wants: Mapping[str, Want]
    held: frozenset[str] = frozenset()
    held_reason: str = ""
    #: What is not held back, by model.
    waiting: Mapping[str, Waiting] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class _Sum:
    """What has been found so far of what waits for a model."""

    texts: int
    #: The most urgent one's.
    rank: int
    #: When the oldest one came.
    oldest_at: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Moment:
    """What is the same for all devices at one moment."""

    now: float
    rules: Rules
    #: The window that models leave in, and not the time at its end in which they come back.
    window: Spell | None
    #: Whether it is that time.
    prewarms: bool
    waiting: Mapping[str, Waiting]
    #: Idle devices whose clocks are wanted normal for it.
    expectant: AbstractSet[str] = frozenset()

    def work_for(self, status: DeviceStatus) -> Waiting | None:
        """What waits for this device, the most urgent; None if nothing does."""
        found = [self.waiting[model] for model in status.models if model in self.waiting]
        return min(found, key=lambda one: (PRIORITIES.index(one.priority), -one.oldest_wait_s), default=None)


def decide(now: float, rules: Rules, lanes: Sequence[LaneState], devices: Sequence[DeviceView]) -> Plan:
    """What is wanted at ``now`` (seconds since the epoch)."""
    spell = rules.windows.at(now)
    prewarms = spell is not None and now >= spell.end - rules.prewarm_s
    window = None if prewarms else spell
    held, held_reason = _held(now, rules, window, prewarms=prewarms)
    moment = _Moment(now=now, rules=rules, window=window, prewarms=prewarms, waiting=claimable(now, lanes, held))
    moment = dataclasses.replace(moment, expectant=_expectant(moment, devices))
    return Plan(
        wants={view.status.id: _want(moment, view) for view in devices},
        held=held,
        held_reason=held_reason,
        waiting=moment.waiting,
    )


def _held(now: float, rules: Rules, window: Spell | None, *, prewarms: bool) -> tuple[frozenset[str], str]:
    """Which priorities are held back, and why; also why none is, as that is told when a hold ends."""
    if window is None:
        return frozenset(), _no_window(prewarms=prewarms)
    if rules.window_bulk != "hold":
        return frozenset(), f"{_window(window, now)}; bulks run"
    if math.isinf(window.end):
        # Held back here, a bulk would never be spoken.
        return frozenset(), f"{_window(window, now)}; bulks do not wait for that"
    return frozenset({HELD_BACK}), f"{_window(window, now)}; bulks wait for it to end"


def claimable(now: float, lanes: Iterable[LaneState], held: AbstractSet[str]) -> dict[str, Waiting]:
    """What waits and is not held back, by model. The one loop over lanes: there may be 10,000 of them, each second."""
    ranks = {priority: rank for rank, priority in enumerate(PRIORITIES) if priority not in held}
    found: dict[str, _Sum] = {}
    for lane, texts, oldest_at, _ in lanes:
        rank = ranks.get(lane.priority)
        if rank is None or not texts:
            continue
        if (known := found.get(lane.model)) is None:
            found[lane.model] = _Sum(texts, rank, oldest_at)
            continue
        known.texts += texts
        if rank < known.rank:  # noqa: PLR1730 - half as long as min()
            known.rank = rank
        if oldest_at < known.oldest_at:  # noqa: PLR1730
            known.oldest_at = oldest_at
    return {
        model: Waiting(
            texts=known.texts, priority=PRIORITIES[known.rank], oldest_wait_s=max(0.0, now - known.oldest_at)
        )
        for model, known in found.items()
    }


def _expectant(moment: _Moment, devices: Iterable[DeviceView]) -> frozenset[str]:
    """The idle devices that most likely speak next, as many as texts wait: those that have the model, and are fast.

    One text would else bring back the clocks of all GPUs of a host, for as long as they stay so at the least. Whichever
    device claims it has its own back at once, for it rings.
    """
    able = [
        view
        for view in devices
        if view.clocks is not None
        and view.clocks.state != UNAVAILABLE
        and view.status.state in {IDLE, UNLOADED}
        and not moment.waiting.keys().isdisjoint(view.status.models)
    ]

    def eagerness(view: DeviceView) -> tuple[bool, bool, str]:
        is_low = view.clocks is not None and view.clocks.state == LOW
        return view.status.model not in moment.waiting, is_low, view.status.id

    texts = sum(one.texts for one in moment.waiting.values())
    return frozenset(view.status.id for view in sorted(able, key=eagerness)[:texts])


def _want(moment: _Moment, view: DeviceView) -> Want:
    residency, residency_reason = _residency(moment, view)
    clocks, clocks_reason = _clocks(moment, view)
    return Want(residency=residency, residency_reason=residency_reason, clocks=clocks, clocks_reason=clocks_reason)


def _residency(moment: _Moment, view: DeviceView) -> tuple[str | None, str]:
    status, wish = view.status, _wish(view, moment.now).residency
    if status.state in {GONE, FAILED, STARTING}:
        return None, f"the device is {status.state}"
    if wish == RESIDENT:
        return RESIDENT, f"{_who(view)} wants it to stay"
    if status.state == BUSY:
        return RESIDENT, "it speaks"
    if (work := moment.work_for(status)) is not None:
        return RESIDENT, work.words
    if wish == UNLOADED:
        return _unloaded_after(moment, status, moment.rules.unload_grace_s, f"{_who(view)} wants it to leave")
    return _residency_by_the_clock(moment, status)


def _residency_by_the_clock(moment: _Moment, status: DeviceStatus) -> tuple[str | None, str]:
    rules = moment.rules
    if moment.window is not None:
        after_s, why = rules.unload_grace_s, _window(moment.window, moment.now)
    elif rules.idle_unload_s is None:
        return RESIDENT, _no_window(prewarms=moment.prewarms)
    else:
        after_s, why = rules.idle_unload_s, f"models leave after {_for(rules.idle_unload_s)} without work"
    loaded_s = moment.now - (status.started_at if status.loaded_at is None else status.loaded_at)
    if status.state != UNLOADED and loaded_s < rules.dwell_s:
        return RESIDENT, f"{why}, but it was loaded {_for(loaded_s)} ago"
    return _unloaded_after(moment, status, after_s, why)


def _unloaded_after(moment: _Moment, status: DeviceStatus, after_s: float, why: str) -> tuple[str, str]:
    if status.state == UNLOADED:
        return UNLOADED, why
    idle_s = moment.now - _idle_since(status)
    if idle_s >= after_s:
        return UNLOADED, f"idle for {_for(idle_s)}; {why}"
    return RESIDENT, f"{why}, in {_for(after_s - idle_s)} if nothing comes"


def _clocks(moment: _Moment, view: DeviceView) -> tuple[str | None, str]:
    if view.clocks is None:
        return None, "its own host keeps its clocks"
    if view.clocks.state == UNAVAILABLE:
        return None, view.clocks.reason or "its clocks cannot be set"
    wish = _wish(view, moment.now).clocks
    if wish in {LOW, NORMAL}:
        return wish, f"{_who(view)} wants it so"
    if view.status.state in {BUSY, STARTING} or view.status.loading_at is not None:
        # A model that an order brings is loaded by a device that still is `unloaded`.
        return NORMAL, "it loads its model" if view.status.loading_at else f"the device is {view.status.state}"
    if view.status.id in moment.expectant and (work := moment.work_for(view.status)) is not None:
        return NORMAL, work.words
    return _clocks_of_an_idle_one(moment, view.status, view.clocks)


def _clocks_of_an_idle_one(moment: _Moment, status: DeviceStatus, clocks: Clocks) -> tuple[str, str]:
    rules, now = moment.rules, moment.now
    if rules.idle_clocks_s == 0:
        return NORMAL, "STENTOR_IDLE_CLOCKS_S is 0"
    idle_s = now - _idle_since(status)
    if clocks.state == LOW and (status.spoke_at or 0.0) <= clocks.since:
        # It may have a new process since, as one that unloads has; that is no work.
        return LOW, f"idle for {_for(idle_s)}"
    if idle_s < rules.idle_clocks_s:
        return NORMAL, f"idle for {_for(idle_s)} of {_for(rules.idle_clocks_s)}"
    if clocks.state != LOW and now - clocks.since < rules.dwell_s:
        return NORMAL, f"they became normal {_for(now - clocks.since)} ago"
    return LOW, f"idle for {_for(idle_s)}"


def _wish(view: DeviceView, now: float) -> Override:
    """What a person wants now."""
    ends = view.override.expires_at
    return NO_OVERRIDE if ends is not None and ends <= now else view.override


def _idle_since(status: DeviceStatus) -> float:
    """When the device last did something, or came to be as it is."""
    if status.state == GONE:
        return status.seen_at
    if status.state in {UNLOADED, FAILED}:
        return max(status.state_at, status.started_at)
    return max(status.spoke_at or 0.0, status.loaded_at or 0.0, status.started_at)


def _who(view: DeviceView) -> str:
    return view.override.by or "somebody"


def _no_window(*, prewarms: bool) -> str:
    return "the window ends soon" if prewarms else "no window"


def _window(window: Spell, now: float) -> str:
    ends = "never ends" if math.isinf(window.end) else f"ends in {_for(window.end - now)}"
    return f"window {window.text} {ends}"


def _for(seconds: float) -> str:
    """A time for a person: ``45 s``, ``5 min``, ``1 h 40 min``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
