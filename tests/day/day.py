"""One compressed day, from its arrivals to its bill and to the ledger that the bill is held against.

Real are Redis, submission, lanes, the claimer, packing, settling, the whole scheduler with its policy, orders, keeper
of clocks and meter, NVIDIA's binding to NVML, and the report and picture of the day. Played are time, the device's
process and its GPU, which is a stub below NVIDIA's binding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import redis

from api.cost.figures import Prices
from api.cost.report import CostReport, report
from api.cost.schemas import CostOut
from scheduler.ticks import Scheduler
from stentor.bill import BillStore
from stentor.cli import day_picture
from stentor.jobs.job import PRIORITIES, Job
from stentor.settings import Settings
from tests.day.device import Device
from tests.day.ledger import Ledger, Replay
from tests.day.power import L4, LOAD_S, Power
from tests.day.shapes import HOUR_S, Shape
from tests.day.world import World, quick_redis
from tests.nvml.stub import FakeGpu, StubGpus, Watts, stub_gpus
from worker.batching.segments import split
from worker.engines.contract import Segment
from worker.engines.simulated.engine import SimulatedEngine
from worker.engines.simulated.gpus import GPUS, Gpu

#: A day like any other, from its midnight (UTC) on. Long gone, so that nothing takes it for today.
DAY: Final = date(2026, 3, 3)
WINDOW: Final = "02:00-05:00 UTC"
GPU_UUID: Final = "GPU-0d0d0d0d-0000-0000-0000-000000000001"
#: Between two ticks, in virtual seconds: less than any of a scheduler's leases. A real one ticks every second; in most
#: of those ticks nothing would happen here.
TICK_S: Final = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a day came to."""

    shape: Shape
    submitted: list[Job]
    #: Ids of jobs, each as often as it was settled.
    settled: list[str]
    passes: int
    #: From submission to speech, by job.
    waited_s: Mapping[str, float]
    report: CostReport
    replay: Replay
    #: Of the simulation's own ledger, by state as the bill calls them.
    seconds: Mapping[str, float]
    #: What the stub integrated.
    stub_j: float

    @property
    def interactive_s(self) -> list[float]:
        """How long interactive texts waited until they were spoken, sorted."""
        return sorted(self.waited_s[job.id] for job in self.submitted if job.priority == PRIORITIES[0])

    @property
    def reported_j(self) -> dict[str, float | None]:
        """What the report says that each trick saved, all three, and that was used."""
        total = self.report.total
        saved = {trick: getattr(total.savings, trick).energy_j for trick in ("merging", "unloading", "clocks")}
        return {**saved, "saved": total.savings.energy_j, "used": total.energy_j, "always_on": total.always_on_j}

    @property
    def true_j(self) -> dict[str, float]:
        """The same by the simulation's own ledger."""
        replay = self.replay
        return {
            **replay.saved_j,
            "saved": sum(replay.saved_j.values()),
            "used": self.stub_j,
            "always_on": replay.always_on_j,
        }


def run_day(
    client: redis.Redis,
    settings: Settings,
    shape: Shape,
    folder: Path,
    *,
    starts_at_h: float = 0,
    hours: float = 24,
    window: str = WINDOW,
    picture: Path | None = None,
    tick_s: float = TICK_S,
) -> Outcome:
    """Play that day, or some hours of it, on one L4 against an empty Redis."""
    began = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() + starts_at_h * HOUR_S
    until = began + hours * HOUR_S
    ours = settings.model_copy(update={"unload_windows": window})
    gpu = GPUS["l4"]
    with quick_redis(client), stub_gpus(folder, _fake(gpu, L4), now=began) as stub:
        world = World(client, ours, began=began)
        device = Device(client, ours, world.backlog, _Card(stub), gpu=gpu, gpu_uuid=GPU_UUID, load_s=LOAD_S, now=began)
        scheduler = Scheduler(ours)
        # Of all that the scheduler asks, only this goes by the server's clock.
        scheduler._backlog = world.backlog
        try:
            world.run(
                device,
                shape.arrivals,
                lambda: scheduler.tick(world.now),
                until=until,
                tick_s=tick_s,
                at=stub.set_time,
            )
            # How it was when the day ended, before clocks are given back.
            low = _low(stub, until)
            stub_j = sum(joules for _, joules in stub.ledger(GPU_UUID).values())
        finally:
            scheduler.close()
    ledger = Ledger(
        device.record,
        L4,
        began=began,
        until=until,
        low=low,
        submitted=world.submitted,
        alone_s=lambda job: _alone_s(job, gpu),
    )
    store = BillStore(client)
    made = report(store.days(since=DAY, until=DAY), {}, since=DAY, until=DAY, prices=Prices())
    if picture is not None:
        slots = CostOut.of(made, store.slots(DAY)).model_dump(mode="json")["slots"]
        day_picture.draw(slots, day=DAY, path=picture)
    return Outcome(
        shape=shape,
        submitted=world.submitted,
        settled=device.record.settled,
        passes=len(device.record.passes),
        waited_s=device.record.waited_s,
        report=made,
        replay=ledger.replay(),
        seconds=ledger.seconds(),
        stub_j=stub_j,
    )


class _Card:
    """The stub's GPU as the device's process drives it."""

    def __init__(self, stub: StubGpus) -> None:
        self._stub = stub

    def enter(self, pid: int) -> None:
        self._stub.context(GPU_UUID, pid, is_virtual=True)

    def leave(self, pid: int) -> None:
        self._stub.context(GPU_UUID, pid, on=False)

    def work(self, busy: bool) -> None:
        self._stub.busy(GPU_UUID, busy)


def _fake(gpu: Gpu, power: Power) -> FakeGpu:
    """The card for the stub. A pass draws the same at low clocks: none runs at them for longer than a moment."""
    watts = Watts(
        empty=power.unloaded_w,
        empty_low=power.unloaded_w,
        idle=power.idle_w,
        idle_low=power.low_w,
        busy=power.busy_w,
        busy_low=power.busy_w,
    )
    return FakeGpu(uuid=GPU_UUID, name="NVIDIA L4", memory_bytes=gpu.memory_bytes, watts=watts)


def _low(stub: StubGpus, until: float) -> list[tuple[float, float]]:
    """When its clocks were low, by the calls that the stub has seen."""
    found, since = [], None
    for call in stub.calls():
        if call.result == 0 and call.function == "set_gpu" and since is None:
            since = call.at
        elif call.result == 0 and call.function == "reset_gpu" and since is not None:
            found.append((since, call.at))
            since = None
    return found if since is None else [*found, (since, until)]


def _alone_s(job: Job, gpu: Gpu) -> float:
    """How long the GPU takes for a text that shares no pass."""
    engine = SimulatedEngine(gpu)
    (voice,) = engine.voices
    rows = [engine.prepare(Segment.of(text, voice)) for text in split(job.text, gpu.segment_chars)]
    return sum(gpu.batch_s(row.cost, 1) for row in rows)
