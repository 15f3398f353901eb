"""Wiring: builds a device out of its parts. Here alone is written which part knows which."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

import celery
import redis

from stentor.devices.registry import DeviceRegistry, DeviceState, device_id
from stentor.doorbell import node_name
from stentor.jobs.store import Backlog
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass
from worker.batching.rows import ClaimedJob
from worker.batching.runner import BatchRunner
from worker.claiming.claimer import Claimer
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.core import DeviceCore
from worker.device.drain import Drain
from worker.device.heartbeat import Heartbeat
from worker.device.holds import HoldWatcher
from worker.device.messages import DeviceMessages
from worker.device.orders import ResidencyOrders
from worker.device.process import DeviceProcess
from worker.device.residency import Residency
from worker.device.status import StatusBoard
from worker.device.voices import VoiceRegistration
from worker.device.wakes import report_wake
from worker.finishing import quality
from worker.finishing.finisher import Finisher
from worker.process.blackbox import BlackBox
from worker.process.guard import Guard


def build_core(
    settings: Settings,
    client: redis.Redis,
    device: str,
    residency: Residency,
    box: BlackBox,
    *,
    memory_limit_bytes: int | None = None,
    stopping: Callable[[], bool],
    elsewhere: Callable[[], Collection[str]],
    discard: Callable[[str, str], None],
    on_work: Callable[[], None] = lambda: None,
    on_pass: Callable[[ForwardPass], None] = lambda _: None,
) -> DeviceCore:
    """The core of the device with this id. ``memory_limit_bytes`` is a limit that nothing but the guard enforces."""
    crash_report = box.read_crash_report()
    ready, claims, budgets = ReadyQueue(), Claims(client, settings, device), Budgets(client, device)
    backlog = Backlog(client, lease_s=settings.lease_s)
    guard = Guard(settings, box, memory_limit_bytes=memory_limit_bytes)
    finisher = Finisher(
        claims,
        Storage(settings),
        storage_retry_s=settings.storage_retry_s,
        loudness_lufs=settings.loudness_lufs,
        discard=discard,
    )

    def in_progress() -> list[ClaimedJob]:
        return [*ready.jobs, *finisher.jobs]

    claimer = Claimer(
        settings,
        backlog,
        claims,
        residency,
        budgets,
        crash_report=crash_report,
        in_progress=in_progress,
        elsewhere=elsewhere,
        on_work=on_work,
    )
    drain = Drain(
        settings,
        claimer,
        claims,
        residency,
        ready,
        BatchRunner(budgets, guard, on_pass=on_pass),
        finisher,
        budgets,
        guard,
        crash_report=crash_report,
        in_progress=in_progress,
        stopping=stopping,
    )
    return DeviceCore(
        id=device,
        residency=residency,
        backlog=backlog,
        claims=claims,
        ready=ready,
        finisher=finisher,
        budgets=budgets,
        guard=guard,
        drain=drain,
        in_progress=in_progress,
    )


def build_device(
    settings: Settings, app: celery.Celery, device: str, box: BlackBox, *, stopping: Callable[[], bool]
) -> DeviceProcess:
    """The process of the device ``device`` (``cpu``, ``cuda:0``) of this host."""
    own_id = device_id(settings.host, device)
    client = connect(settings)
    board = StatusBoard(own_id)
    residency = Residency(settings, device, on_change=board.set_models, before_first_load=quality.warm_up_in_background)
    board.set(models=residency.models, gpu=residency.gpu, node=settings.node)
    messages = DeviceMessages(app, client, own_id, node=node_name(device, settings.host))
    registry = DeviceRegistry(client, lease_s=settings.lease_s)
    core = build_core(
        settings,
        client,
        own_id,
        residency,
        box,
        memory_limit_bytes=residency.memory_limit_bytes if device == "cpu" else None,
        stopping=stopping,
        elsewhere=functools.partial(_models_elsewhere, registry, own_id),
        discard=messages.discard_audio,
        on_work=board.set_busy,
        on_pass=board.count,
    )
    heartbeat = Heartbeat(
        board,
        registry,
        core.claims,
        core.in_progress,
        lease_s=settings.lease_s,
        on_wake=functools.partial(report_wake, client, own_id, settings.machine),
    )
    return DeviceProcess(
        core,
        board,
        heartbeat,
        messages,
        ResidencyOrders(client, board, core),
        VoiceRegistration(client, registry, residency, own_id),
        HoldWatcher(client, messages.ring),
        stopping=stopping,
    )


def _models_elsewhere(registry: DeviceRegistry, own_id: str) -> set[str]:
    """The models that are resident on other, idle devices."""
    return {
        status.model
        for status in registry.list()
        if status.id != own_id and status.state == DeviceState.IDLE and status.model
    }
