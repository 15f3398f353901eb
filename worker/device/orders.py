"""Orders to a device: stay unloaded, or load a model again."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from stentor import log
from stentor.devices.registry import DeviceState
from stentor.doorbell import BY_POLICY
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors
from worker.device.core import DeviceCore
from worker.device.status import StatusBoard

_log = log.get(__name__)

#: Pause before a Redis that does not answer is asked again, in seconds.
RETRY_S = 1.0


class ResidencyOrders:
    """Accepts or declines orders about the residency of one device's models.

    Raises:
        RedisUnavailable: from ``accept_load`` and ``accept_unload``, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, board: StatusBoard, core: DeviceCore) -> None:
        self._client = client
        self._board = board
        self._core = core

    def wait_whether_unloaded(self, stopping: Callable[[], bool]) -> bool:
        """Whether the device has to stay unloaded, as soon as Redis answers; True if a stop comes first.

        Without Redis nothing can be spoken, and a model that was unloaded by order would only have to leave again.
        """
        logged = False
        while not stopping():
            try:
                with redis_errors():
                    return str(self._client.get(keys.wanted_residency(self._core.id))) == DeviceState.UNLOADED
            except RedisUnavailable as exc:
                if not logged:
                    _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=RETRY_S)
                logged = True
                time.sleep(RETRY_S)
        return True

    def accept_load(self) -> None:
        """Forget the order to stay unloaded, and try models again that could not be loaded before."""
        with redis_errors():
            self._client.delete(keys.wanted_residency(self._core.id))
        if self._core.residency.out:
            self._core.residency.forgive()

    def accept_unload(self, *, why: str, pid: str, spoke_at: str) -> bool:
        """Note that the device has to stay unloaded. True if its process has to end now, which frees all memory.

        An order of the policy is checked again, because it may have waited: the scheduler saw the process ``pid``,
        which had spoken at ``spoke_at``, idle.
        """
        reason = self._reason_to_stay(pid, spoke_at) if why == BY_POLICY else None
        with redis_errors():
            if reason is None:
                self._client.set(keys.wanted_residency(self._core.id), DeviceState.UNLOADED)
                if not self._core.residency.light:
                    _log.info("device_unloads", device=self._core.id, why=why)
                    return True
            self._client.delete(keys.last_order(self._core.id))
        if reason is None:
            self._board.set(state=DeviceState.UNLOADED)
        _log.info("unload_declined", device=self._core.id, why=why, reason=reason or "nothing is loaded")
        return False

    def _reason_to_stay(self, pid: str, spoke_at: str) -> str | None:
        """Why this process should not end although the policy ordered it; None if it may end."""
        status = self._board.status
        if pid != str(status.pid):
            return "the order was for the process before this one"
        if spoke_at != repr(status.spoke_at):
            return "it has spoken since"
        if self._core.in_progress():
            return "it holds texts"
        models = self._core.residency.models
        waits = any(not state.held and state.lane.model in models for state in self._core.backlog.lanes())
        return "texts wait" if waits else None
