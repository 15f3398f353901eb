"""A device in virtual time: claims, packs and settles as a worker does, and takes as long as a simulated L4 would.

What decides is the worker's own: ``Claimer`` with its choice of lanes, ``ReadyQueue`` with its packing, ``Claims`` with
its scripts, ``count_pass``. What is played here is the process, its GPU and what Celery would bring: every act that
takes time is an event, due at a moment.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import redis
from ulid import ULID

from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus, device_id
from stentor.doorbell import BY_POLICY, LOAD, SYNTHESIS_QUEUE, SYNTHESIZE, device_queue
from stentor.doorbell import UNLOAD as UNLOAD_ORDER
from stentor.jobs.job import JobState, Outcome
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.settings import Settings
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass
from worker.batching.packing import padding
from worker.batching.rows import BatchRef, BatchRow, ClaimedJob
from worker.claiming.claimer import Claimer
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.drain import AHEAD
from worker.device.heartbeat import BEATS_PER_LEASE
from worker.device.residency import Residency
from worker.device.status import count_pass
from worker.device.wakes import report_wake, wakes
from worker.engines.contract import Engine, Speech
from worker.engines.simulated.engine import SimulatedEngine
from worker.engines.simulated.gpus import Gpu

#: Ids of the processes that act for the device, one after the other, begin here: far above those of this machine.
FIRST_PID = 4_000_000
_SILENCE = Speech(samples=np.zeros(0, dtype=np.float32))


class Card(Protocol):
    """The GPU below the device, which a stub of NVML tells of."""

    def enter(self, pid: int) -> None:
        """A process has a context on it."""

    def leave(self, pid: int) -> None:
        """The process has ended."""

    def work(self, busy: bool) -> None:
        """A pass begins or ends."""


@dataclasses.dataclass
class Record:
    """What the device did, in its own words; the bill is held against it. Nothing of it is in Redis."""

    #: Ids of jobs, each as often as it was settled.
    settled: list[str] = dataclasses.field(default_factory=list)
    #: When each pass began and how long it took, in seconds, and the costs of its rows.
    passes: list[tuple[float, float, Sequence[int]]] = dataclasses.field(default_factory=list)
    #: Model on the device, from when until when.
    resident: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    #: Context on the GPU, loading included.
    context: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    #: From submission to the end of the last row's pass, by job.
    waited_s: dict[str, float] = dataclasses.field(default_factory=dict)


class _Room:
    """Stands for the residency that a claimer looks at: one model that is there or not, and comes in virtual time."""

    def __init__(self, engine: Engine) -> None:
        self.engines = {engine.info.model: engine}
        self.models = tuple(self.engines)
        self.here = False

    @property
    def resident(self) -> tuple[str, ...]:
        return self.models if self.here else ()

    def engine(self, model: str) -> Engine:
        if not self.here:
            raise _MustLoad
        return self.engines[model]


class _MustLoad(Exception):
    """There is something to speak, and its model is not on the device."""


class Device:
    """One device. ``due`` is when ``go_on`` is to be called next, in virtual seconds since the epoch."""

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        backlog: Backlog,
        card: Card,
        *,
        gpu: Gpu,
        gpu_uuid: str,
        load_s: float,
        now: float,
    ) -> None:
        self.id = device_id(settings.host, "cuda:0")
        self.due = math.inf
        self.record = Record()
        self._client = client
        self._settings = settings
        self._backlog = backlog
        self._card = card
        self._gpu = gpu
        self._load_s = load_s
        self._registry = DeviceRegistry(client, lease_s=settings.lease_s)
        self._claims = Claims(client, settings, self.id)
        self._engine = SimulatedEngine(gpu)
        self._room = _Room(self._engine)
        self._ready = ReadyQueue()
        self._budgets = Budgets(client, self.id)
        self._claimer = Claimer(
            settings,
            backlog,
            self._claims,
            cast("Residency", self._room),
            self._budgets,
            crash_report=None,
            # What is spoken here is settled at once, so nothing is being finished.
            in_progress=lambda: self._ready.jobs,
            elsewhere=tuple,
        )
        self._next: Callable[[float], None] = self.hear
        self._passing: Sequence[BatchRow] = ()
        self._drained_since = now
        self._context_since = self._resident_since = math.nan
        self._reported_at = -math.inf
        self.status = DeviceStatus(
            id=self.id,
            pid=FIRST_PID,
            state=DeviceState.STARTING,
            models=self._room.models,
            started_at=now,
            seen_at=now,
            state_at=now,
            gpu=gpu_uuid,
        )
        self._say(now)
        self._load(now)

    # --- what time brings

    def go_on(self, now: float) -> None:
        """Do what is due."""
        self.due = math.inf
        self._next(now)

    def beat(self, now: float) -> None:
        """Report, if it is time to."""
        if now - self._reported_at >= self._settings.lease_s / BEATS_PER_LEASE:
            self._say(now)

    def close(self, now: float) -> None:
        """Write down what was going on when the day ended."""
        if not math.isnan(self._resident_since):
            self.record.resident.append((self._resident_since, now))
        if not math.isnan(self._context_since):
            self.record.context.append((self._context_since, now))

    @property
    def models(self) -> tuple[str, ...]:
        """Models that it speaks."""
        return self._room.models

    @property
    def free(self) -> bool:
        """Whether it would hear a message."""
        return self.due == math.inf

    def hear(self, now: float) -> None:
        """Take the messages that wait, one after the other, for as long as the device is free."""
        while self.free and (message := self._message()):
            task, arguments = message
            if task == SYNTHESIZE:
                self._drain(now)
            elif task == LOAD:
                self._client.delete(keys.wanted_residency(self.id))
                if not self._room.here:
                    self._load(now)
            elif task == UNLOAD_ORDER:
                self._unload(now, **arguments)

    def _message(self) -> tuple[str, dict[str, str]] | None:
        """The oldest message for this device: an order first, else a doorbell. Its task and its arguments."""
        for name in (device_queue(self.id), SYNTHESIS_QUEUE):
            raw = self._client.rpop(keys.queue(name))
            if raw is not None:
                message: dict[str, Any] = json.loads(str(raw))
                _, arguments, _ = json.loads(base64.b64decode(message["body"]))
                return message["headers"]["task"], arguments
        return None

    def _later(self, at: float, act: Callable[[float], None]) -> None:
        self.due, self._next = at, act

    # --- residency

    def _load(self, now: float) -> None:
        self._card.enter(self.status.pid)
        self._context_since = now
        self._say(now, loading_at=now)
        self._later(now + self._load_s, self._loaded)

    def _loaded(self, now: float) -> None:
        self._room.here = True
        self._resident_since = now
        state = DeviceState.BUSY if self.status.state == DeviceState.BUSY else DeviceState.IDLE
        came = {"model": self._engine.model, "loading_at": None, "loaded_at": now, "load_s": self._load_s}
        self._say(now, state=state, **came)
        # For whose sake it was loaded, or as a worker rings when it has started.
        self._drain(now)
        if self.free:
            self._say(now, state=DeviceState.IDLE)
            self.hear(now)

    def _unload(self, now: float, why: str = "", pid: str = "", spoke_at: str = "") -> None:
        """End the process, and begin with the next; what the policy wants only if nothing has happened since."""
        if why == BY_POLICY and not self._may_go(now, pid, spoke_at):
            self._client.delete(keys.last_order(self.id))
            return
        self._client.set(keys.wanted_residency(self.id), DeviceState.UNLOADED)
        if not self._room.here:
            return
        self._card.leave(self.status.pid)
        self.close(now)
        self._context_since = self._resident_since = math.nan
        self._room.here = False
        begun = DeviceStatus(
            id=self.id,
            pid=self.status.pid + 1,
            state=DeviceState.UNLOADED,
            models=self.status.models,
            started_at=now,
            seen_at=now,
            state_at=now,
            gpu=self.status.gpu,
        )
        self.status = begun
        self._say(now)

    def _may_go(self, now: float, pid: str, spoke_at: str) -> bool:
        waits = any(not state.held for state in self._backlog.lanes())
        return pid == str(self.status.pid) and spoke_at == repr(self.status.spoke_at) and not waits

    # --- speaking

    def _drain(self, now: float) -> None:
        """A doorbell: claim what waits, and speak it after the merge window if it is no full batch."""
        self._drained_since = now
        if not self._claim(now, ahead=1):
            return
        full = self._ready.cost(self._engine.model) >= self._budgets.of(self._engine.info)
        self._later(now + (0 if full else self._settings.merge_window_ms / 1000), self._begin)

    def _claim(self, now: float, *, ahead: int) -> bool:
        """Whether there is something in hand; if the model must come first, it is sent for."""
        try:
            result = self._claimer.claim(self._ready, ahead=ahead)
        except _MustLoad:
            self._wake(now)
            self._load(now)
            return False
        if result.failure:
            raise result.failure
        for prepared in result.prepared:
            self._ready.add(prepared)
        if self._ready and self.status.state != DeviceState.BUSY:
            self._wake(now)
        return bool(self._ready)

    def _wake(self, now: float) -> None:
        was = self.status
        self._say(now, state=DeviceState.BUSY)
        if was.state != DeviceState.BUSY and wakes(was, now):
            report_wake(self._client, self.id, self.status.machine)

    def _begin(self, now: float) -> None:
        """The next pass, of what is in hand and what has come since; idle if there is nothing."""
        if not self._claim(now, ahead=1 if not self._passing else AHEAD):
            self._passing = ()
            self._say(now, state=DeviceState.IDLE)
            self.hear(now)
            return
        self._passing = self._ready.take_batch({self._engine.model: self._engine}, self._budgets)
        costs = [row.utterance.cost for row in self._passing]
        took_s = self._gpu.batch_s(max(costs), len(costs))
        self.record.passes.append((now, took_s, costs))
        self._card.work(busy=True)
        self._later(now + took_s, self._spoken)

    def _spoken(self, now: float) -> None:
        """A pass is over: count it, settle what it completed, and go on."""
        self._card.work(busy=False)
        costs = [row.utterance.cost for row in self._passing]
        took_s = self.record.passes[-1][1]
        batch = BatchRef(id=f"bat_{ULID()}".lower(), size=len(costs), padding=padding(costs, pads=True))
        done = ForwardPass(
            engine=self._engine,
            rows=self._passing,
            answers=[_SILENCE] * len(costs),
            batch=batch,
            audio_s=sum(costs) / self._gpu.units_per_s,
            took_s=took_s,
            out_of_memory=False,
        )
        self.status = count_pass(self.status, done, now=now)
        self._budgets.grow(self._engine.info, max(costs) * len(costs))
        for row in self._passing:
            row.claimed.device_s += took_s / sum(costs) * row.utterance.cost
            row.claimed.record_answer(row.at, _SILENCE, batch)
            if row.claimed.is_complete:
                self._settle(now, row.claimed)
        self._say(now)
        if now - self._drained_since >= self._settings.drain_s:
            # A drain is over: orders are heard before the next.
            self._drained_since = now
            if self._ordered():
                self.hear(now)
        if self.free:
            self._begin(now)

    def _ordered(self) -> bool:
        return bool(self._client.llen(keys.queue(device_queue(self.id))))

    def _settle(self, now: float, claimed: ClaimedJob) -> None:
        job, batch = claimed.job, claimed.batch
        assert batch is not None
        audio_s = sum(row.utterance.cost for row in self._passing if row.claimed is claimed) / self._gpu.units_per_s
        fields = {
            "audio_key": f"audio/{job.id}.wav",
            "audio_s": round(audio_s, 4),
            "audio_bytes": 44,
            "sha256": "0" * 64,
            "device_s": round(claimed.device_s, 6),
            "batch_id": batch.id,
            "batch_size": batch.size,
            "batch_padding": round(batch.padding, 4),
        }
        if self._claims.settle(claimed.claim, Outcome(state=JobState.SUCCEEDED, fields=fields)):
            self.record.settled.append(job.id)
            self.record.waited_s[job.id] = now - job.created_at
        self._ready.remove(claimed)

    # --- reports

    def _say(self, now: float, **changes: Any) -> None:
        after = dataclasses.replace(self.status, seen_at=now, **changes)
        if after.state != self.status.state:
            after = dataclasses.replace(after, state_at=now)
        self.status = after
        self._reported_at = now
        self._registry.report(after)
