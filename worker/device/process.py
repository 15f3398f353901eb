"""The process of a device, from its start to its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from stentor import log
from stentor.devices.registry import DeviceState
from stentor.errors import EngineFailed, StentorError
from worker.device.core import DeviceCore
from worker.device.heartbeat import Heartbeat
from worker.device.holds import HoldWatcher
from worker.device.messages import DeviceMessages
from worker.device.orders import RETRY_S, ResidencyOrders
from worker.device.status import StatusBoard
from worker.device.voices import VoiceRegistration

_log = log.get(__name__)

#: How long a stop waits for audio that is being uploaded, in seconds. Jobs that are not settled by then are spoken
#: again.
STOP_S = 8.0


class DeviceProcess:
    """One process of one device. ``worker.device.wiring`` builds it."""

    def __init__(
        self,
        core: DeviceCore,
        board: StatusBoard,
        heartbeat: Heartbeat,
        messages: DeviceMessages,
        orders: ResidencyOrders,
        voices: VoiceRegistration,
        holds: HoldWatcher,
        *,
        stopping: Callable[[], bool],
    ) -> None:
        self._core = core
        self._residency = core.residency
        self._board = board
        self._heartbeat = heartbeat
        self._messages = messages
        self._orders = orders
        self._voices = voices
        self._holds = holds
        self._stopping = stopping

    def start(self) -> None:
        """Report, load the preferred model unless the device has to stay unloaded, and ring the doorbell."""
        self._heartbeat.start(self._on_beat)
        self._core.guard.start()
        if self._orders.wait_whether_unloaded(self._stopping):
            self._board.set(state=DeviceState.UNLOADED)
        else:
            self._load_preferred()
        self._messages.listen()
        self._messages.ring()

    def _on_beat(self, met: bool) -> None:
        """Register the voices in a Redis that was away, and go on with rows that are left in the ready queue.

        The scheduler rings a lost doorbell again for what waits in lanes, but not for these rows.
        """
        if met:
            self._voices.register()
        if self._core.ready and self._board.status.state != DeviceState.BUSY:
            self._messages.ring_here()

    def _load_preferred(self) -> None:
        self._load(self._residency.preferred)
        while not self._residency.resident and self._residency.preferred is not None and not self._stopping():
            time.sleep(RETRY_S)
            self._load(self._residency.preferred)

    def _load(self, model: str | None) -> None:
        """Load a model and report the result; if it fails, the next drain tries again."""
        try:
            if model is not None:
                self._residency.engine(model)
        except StentorError as exc:
            _log.exception("model_not_loaded", model=model)
            self._report_failure(exc)
        else:
            self._board.set(state=DeviceState.IDLE, error=None)

    def _report_failure(self, error: StentorError) -> None:
        """Report it. A device that cannot load any model stops listening, so that others hear the doorbell."""
        self._board.set(state=DeviceState.FAILED, error=error.detail, models=self._residency.models)
        if self._residency.out:
            _log.error("device_out", device=self._core.id, reason=error.detail)
            self._messages.stop_listening()

    def load(self, model: str | None = None) -> None:
        """Load a model, by default the preferred one; an order to stay unloaded ends with it."""
        self._orders.accept_load()
        self._messages.listen()
        self._load(model or self._residency.preferred)

    def unload(self, *, why: str, pid: str, spoke_at: str) -> bool:
        """Note that the device has to stay unloaded. True if the caller has to end the process now."""
        ends = self._orders.accept_unload(why=why, pid=pid, spoke_at=spoke_at)
        if ends:
            self.stop()
        return ends

    def drain(self) -> bool:
        """Speak what waits, and ring again if work may be left. False if the process has to be replaced."""
        if self._core.ready:
            self._board.set_busy()
        started = time.monotonic()
        try:
            result = self._core.drain.run()
        except EngineFailed as exc:
            _log.exception("model_not_loaded")
            self._report_failure(exc)
            if not self._residency.out:
                self._messages.ring()
            return True
        self._report_end()
        _log.debug("drained", took_s=round(time.monotonic() - started, 3), left=result.left)
        if result.left:
            self._ring_for_rest()
        if result.held:
            self._holds.watch()
        if self._core.guard.full:
            _log.warning("device_replaced", reason="the process holds more memory than its limit")
            self.stop()
            return False
        return True

    def _report_end(self) -> None:
        resident = next(iter(self._residency.resident), None)
        if resident or not self._residency.failing:
            self._board.set(state=DeviceState.IDLE if resident else DeviceState.UNLOADED, error=None)
        else:
            self._board.set(state=DeviceState.FAILED)

    def _ring_for_rest(self) -> None:
        """Ring for this device alone if it still holds rows, because no other device can go on with them."""
        if self._core.ready:
            self._messages.ring_here()
        else:
            self._messages.ring()

    def stop(self) -> None:
        """Give back what is ready, and wait a few seconds for audio that is being uploaded."""
        self._core.drain.let_go()
        if not self._core.finisher.wait_until_empty(STOP_S):
            self._core.finisher.abandon()
            _log.warning("stopped_with_unstored_audio", jobs=len(self._core.finisher.jobs))
