"""A day in the life of a device for tests of the bill: ticks with literal powers, seen by a real meter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import redis

from scheduler.bill.meter import Meter
from scheduler.plan import Clocks
from stentor.devices.nvml import Reading
from stentor.devices.passes import combine_sums, sums_of
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.settings import Settings

GPU = "GPU-0"


def a_reading(energy_j: float | None = 0.0, power_w: float | None = None, gpu: str = GPU) -> Reading:
    return Reading(
        uuid=gpu,
        index=0,
        name="Simulated",
        energy_j=energy_j,
        power_w=power_w,
        memory_used_bytes=None,
        memory_total_bytes=None,
        sm_clock_mhz=1500,
        memory_clock_mhz=None,
        temperature_c=None,
        utilization_percent=None,
        pids=None,
    )


class Metered:
    """One device on one GPU, and the meter of its host. Time goes on when ``spend`` says so."""

    def __init__(self, client: redis.Redis, settings: Settings, *, at: float, device: str = "testhost/cuda:0") -> None:
        self.client, self.settings = client, settings
        self.meter = Meter(client, settings)
        self.now = at
        #: None for a device whose energy nobody measures.
        self.energy_j: float | None = 1000.0
        self.clocks = Clocks(state="normal", since=at)
        self.status = DeviceStatus(
            id=device, pid=1, state=DeviceState.IDLE, model="m", started_at=at, seen_at=at, state_at=at, loaded_at=at
        )

    def tick(self) -> None:
        """One look of the meter."""
        readings = {} if self.energy_j is None else {self.status.id: a_reading(self.energy_j)}
        self.meter.sample(self.now, [self.status], readings, {self.status.id: self.clocks})

    def spend(self, seconds: float, watts: float, *, tick_s: float = 1.0) -> None:
        """Time goes on at a power, with a tick every ``tick_s``."""
        end = self.now + seconds
        while self.now < end:
            step_s = min(tick_s, end - self.now)
            self.now += step_s
            if self.energy_j is not None:
                self.energy_j += watts * step_s
            self.tick()

    def turn(self, state: str, **changes: object) -> None:
        """The device is in another state from now on."""
        at = self.status.state_at if state == self.status.state else self.now
        self.status = dataclasses.replace(self.status, state=state, state_at=at, **changes)  # type: ignore[arg-type]

    def set_clocks(self, state: str) -> None:
        """The clocks are others from now on."""
        self.clocks = Clocks(state=state, since=self.now)

    def speak(
        self, costs: Sequence[int], took_s: float, watts: float, *, tick_s: float = 1.0, then: str = DeviceState.IDLE
    ) -> None:
        """One pass of that many seconds, told when it ends; ``then`` is the device's state after it."""
        self.turn(DeviceState.BUSY)
        whole = int(took_s / tick_s) * tick_s
        self.spend(whole, watts, tick_s=tick_s)
        # The pass ends between two ticks.
        self.now += took_s - whole
        if self.energy_j is not None:
            self.energy_j += watts * (took_s - whole)
        sums = sums_of(costs, padded_cost=max(costs) * len(costs), took_s=took_s)
        self.status = dataclasses.replace(
            self.status,
            spoke_at=self.now,
            batches=self.status.batches + 1,
            rows=self.status.rows + len(costs),
            cost=self.status.cost + sum(costs),
            padded_cost=self.status.padded_cost + max(costs) * len(costs),
            audio_s=self.status.audio_s + sum(costs) / 10,
            busy_s=self.status.busy_s + took_s,
            sums={"m": combine_sums(self.status.sums.get("m", ()), sums)},
        )
        self.turn(then)


def seconds(amounts: Mapping[str, float]) -> dict[str, float]:
    """Seconds by state, without those that are none, to the millisecond."""
    return {field[2:]: round(value, 3) for field, value in sorted(amounts.items()) if field.startswith("s:") and value}
