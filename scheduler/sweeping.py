"""Asking for sweeps: the leader asks the io workers, because they may write what needs repair."""

from __future__ import annotations

from typing import Final

import redis

from stentor import log
from stentor.doorbell import SWEEP, Doorbell
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors

_log = log.get(__name__)

#: Time between two sweeps, in seconds: what is stuck is found after one to two minutes.
SWEEP_EVERY_S: Final = 60.0
#: When to ask again for a sweep that did not begin, in seconds. It is longer than the broker's visibility timeout,
#: because a sweep whose worker was killed comes back by itself. Few requests pile up while no io worker runs.
ASK_AGAIN_S: Final = 1200


class Sweeps:
    """Asks for sweeps. Only the leader calls it."""

    def __init__(self, client: redis.Redis, doorbell: Doorbell) -> None:
        self._client = client
        self._doorbell = doorbell
        self._asked_at_s = float("-inf")

    def act(self, token: int, now_s: float) -> bool:
        """Ask for a sweep if one is due, none runs and none waits for an io worker; whether it was asked for.

        Raises:
            RedisUnavailable: Redis does not answer, or refuses the message.
        """
        if now_s - self._asked_at_s < SWEEP_EVERY_S:
            return False
        with redis_errors():
            # A sweep that an earlier leader asked for changes nothing any more.
            if self._client.exists(keys.SWEEP_LOCK) or self._client.get(keys.SWEEP_ASKED) == str(token):
                return False
            self._client.set(keys.SWEEP_ASKED, token, ex=ASK_AGAIN_S)
        try:
            self._doorbell.ask(SWEEP, token=str(token))
        except RedisUnavailable:
            with redis_errors():
                self._client.delete(keys.SWEEP_ASKED)
            raise
        self._asked_at_s = now_s
        _log.debug("sweep_asked_for", token=token)
        return True
