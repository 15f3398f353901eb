"""A small world that obeys the policy: devices that take their time, work that wakes them, and an eye on both."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence

from scheduler.plan import Clocks, DeviceView, Plan, Rules
from scheduler.policy import decide
from stentor.devices.overrides import NO_OVERRIDE, Override
from stentor.devices.registry import DeviceStatus
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import Lane, LaneState
from tests.support.work.windows import next_start

WEEK_S = 7 * 86_400
#: How long a device's process takes to end and come again without a model, in seconds.
UNLOAD_S = 1.0
#: Between two ticks of the scheduler, in seconds: mostly far longer than in life, so that a week is short.
TICKS_S = (1.0, 20.0, 120.0, 300.0)
#: While a device is between two states the scheduler looks as often as in life, in seconds.
SHORT_TICK_S = 1.0
#: The share of doorbells that are not lost. In life hardly any is.
RINGS = 0.7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What the scheduler, or work, did to a device."""

    at: float
    to: str
    reason: str


@dataclasses.dataclass(kw_only=True)
class SimDevice:
    """One device. ``busy_since`` is when its batch began."""

    id: str
    models: tuple[str, ...]
    started_at: float
    state: str = "starting"
    state_at: float = 0.0
    model: str | None = None
    loaded_at: float | None = None
    spoke_at: float | None = None
    busy_since: float | None = None
    loading: bool = False
    clocks: Clocks
    override: Override = NO_OVERRIDE
    residency_changes: list[Change] = dataclasses.field(default_factory=list)
    clock_changes: list[Change] = dataclasses.field(default_factory=list)

    def become(self, state: str, now: float) -> None:
        self.state, self.state_at = state, now

    def come(self, model: str, now: float) -> None:
        """Have a model on the device from now on."""
        if self.model is None:
            self.residency_changes.append(Change(at=now, to="resident", reason="it was loaded"))
        self.model, self.loaded_at = model, now

    def view(self, now: float) -> DeviceView:
        status = DeviceStatus(
            id=self.id,
            pid=1,
            state=self.state,
            models=self.models,
            model=self.model,
            started_at=self.started_at,
            seen_at=now,
            state_at=self.state_at,
            loaded_at=self.loaded_at,
            spoke_at=self.spoke_at,
        )
        return DeviceView(status=status, override=self.override, clocks=self.clocks)


class World:
    """Devices and lanes under a scheduler. Raises AssertionError as soon as something is not as promised."""

    def __init__(self, *, start: float, rules: Rules, devices: Sequence[SimDevice], load_s: float, seed: int) -> None:
        self.now = self.start = start
        self.rules, self.devices, self.load_s = rules, devices, load_s
        self.random = random.Random(seed)
        self.waiting: dict[tuple[str, str], list[float]] = {}
        self.held: frozenset[str] = frozenset()
        self.came = self.spoken = 0
        self.ticked_at = start
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for device in devices:
            self.at(start + load_s, lambda device=device: self._started(device))  # type: ignore[misc]
        self.at(start, self._tick)

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def run(self, until: float, *, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until then, or until ``done``."""
        while self._events[0][0] <= until and not done():
            self.now, _, act = heapq.heappop(self._events)
            act()

    # --- work

    def submit(self, model: str, priority: str) -> None:
        """One text comes, and the doorbell rings, mostly: the scheduler rings again for what waits."""
        self.waiting.setdefault((model, priority), []).append(self.now)
        self.came += 1
        if self.random.random() < RINGS:
            self._ring()

    def _ring(self) -> None:
        for device in self.devices:
            if device.state in {"idle", "unloaded"} and not device.loading:
                self._claim(device)

    def _claim(self, device: SimDevice) -> None:
        """Take all that waits in the most urgent lane, and speak it."""
        lanes = [
            (priority, model)
            for priority in PRIORITIES
            for model in device.models
            if priority not in self.held and self.waiting.get((model, priority))
        ]
        if not lanes:
            return
        priority, model = lanes[0]
        # A scheduler that has looked since the window began has held bulks back.
        assert priority != "bulk" or not self._holds_at(self.ticked_at), "a bulk was claimed in a window"
        texts = len(self.waiting.pop((model, priority)))
        device.become("busy", self.now)
        device.busy_since = self.now
        if device.model == model:
            self._speak(device, texts)
        else:
            self.at(self.now + self.load_s, lambda: self._come_and_speak(device, model, texts))

    def _come_and_speak(self, device: SimDevice, model: str, texts: int) -> None:
        device.come(model, self.now)
        self._speak(device, texts)

    def _speak(self, device: SimDevice, texts: int) -> None:
        self.at(self.now + self.random.choice((0.3, 3.0, 40.0, 400.0)), lambda: self._spoke(device, texts))

    def _spoke(self, device: SimDevice, texts: int) -> None:
        self.spoken += texts
        device.spoke_at, device.busy_since = self.now, None
        device.become("idle", self.now)
        self._claim(device)

    # --- the scheduler

    def _holds_at(self, time: float) -> bool:
        end = self.rules.windows.end_of(time)
        dark = end is not None and not math.isinf(end) and time < end - self.rules.prewarm_s
        return dark and self.rules.window_bulk == "hold"

    def _lanes(self) -> list[LaneState]:
        return [
            LaneState(
                lane=Lane(model=model, priority=priority, length=1),
                waiting=len(came),
                oldest_at=came[0],
                held=priority in self.held,
            )
            for (model, priority), came in self.waiting.items()
        ]

    def _tick(self) -> None:
        self._look_at_clocks()
        self._look_at_the_end_of_a_window()
        plan = decide(self.now, self.rules, self._lanes(), [device.view(self.now) for device in self.devices])
        for device in self.devices:
            self._obey(device, plan)
        assert plan.held == (frozenset({"bulk"}) if self._holds_at(self.now) else frozenset())
        assert plan.held_reason
        self.held, self.ticked_at = plan.held, self.now
        self._ring()
        self.at(self._next_tick(), self._tick)

    def _next_tick(self) -> float:
        moving = any(device.state == "starting" for device in self.devices)
        end, start = self.rules.windows.end_of(self.now), next_start(self.rules.windows, self.now)
        soon = [self.now + (SHORT_TICK_S if moving else self.random.choice(TICKS_S))]
        # Real ticks are a second apart, and miss no window and no time to load.
        soon += [time for time in (start, end, end and end - self.rules.prewarm_s) if time and time > self.now]
        return min(soon)

    def _obey(self, device: SimDevice, plan: Plan) -> None:
        want = plan.wants[device.id]
        assert want.residency_reason.strip()
        assert want.clocks_reason.strip()
        if want.residency == "unloaded" and device.state == "idle":
            self._unload(device, want.residency_reason)
        elif want.residency == "resident" and device.state == "unloaded" and not device.loading:
            device.loading = True
            self.at(self.now + self.load_s, lambda: self._loaded(device))
        if want.clocks is not None and want.clocks != device.clocks.state:
            device.clocks = Clocks(state=want.clocks, since=self.now)
            device.clock_changes.append(Change(at=self.now, to=want.clocks, reason=want.clocks_reason))

    def _unload(self, device: SimDevice, reason: str) -> None:
        waits = [one for one in self.waiting if one[0] in device.models and one[1] != "bulk"]
        assert not waits, f"it unloads while {waits} wait: {reason}"
        device.residency_changes.append(Change(at=self.now, to="unloaded", reason=reason))
        device.model = device.loaded_at = device.spoke_at = None
        device.become("starting", self.now)
        device.started_at = self.now + UNLOAD_S
        self.at(self.now + UNLOAD_S, lambda: self._unloaded(device))

    def _unloaded(self, device: SimDevice) -> None:
        device.become("unloaded", self.now)
        self._claim(device)

    def _loaded(self, device: SimDevice) -> None:
        device.loading = False
        self._started(device)

    def _started(self, device: SimDevice) -> None:
        device.come(device.models[0], self.now)
        device.become("idle", self.now)
        self._claim(device)

    # --- what is promised

    def _look_at_clocks(self) -> None:
        for device in self.devices:
            if device.busy_since is not None and device.busy_since < self.ticked_at and device.override.clocks != "low":
                assert device.clocks.state == "normal", f"{device.id} has low clocks and speaks for longer than a tick"

    def _look_at_the_end_of_a_window(self) -> None:
        """Whether all have their models, where there was time for it."""
        rules = self.rules
        over = rules.windows.end_of(self.now) is None and rules.windows.end_of(self.now - 1) is not None
        in_time = rules.prewarm_s >= self.load_s + UNLOAD_S + 2 * SHORT_TICK_S
        if not over or not in_time or rules.idle_unload_s is not None or self.now < self.start + 900:
            return
        for device in self.devices[1:]:
            assert device.state in {"idle", "busy"}, f"{device.id} is {device.state} at the end of a window"
