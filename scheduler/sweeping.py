"""Asking for sweeps: the leader asks the io workers, who may write what needs to be repaired."""

from __future__ import annotations

from typing import Final

import redis

from stentor import log
from stentor.doorbell import SWEEP, Doorbell
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors

_log = log.get(__name__)

#: Between two sweeps, in seconds: what got stuck is found after one to two minutes.
SWEEP_EVERY_S: Final = 60.0
#: A sweep that was asked for and did not begin is asked for again after this time, in seconds. Longer than the broker's
#: visibility timeout: one whose worker was killed comes back by itself. While no io worker is there, few pile up.
ASK_AGAIN_S: Final = 1200


class Sweeps:
    """Asks for a sweep from time to time. Whoever does not lead does not call it."""

    def __init__(self, client: redis.Redis, doorbell: Doorbell) -> None:
        self._client = client
        self._doorbell = doorbell
        self._asked_at_s = float("-inf")

    def act(self, token: int, now_s: float) -> bool:
        """Whether a sweep was asked for: not while one is under way or waits for an io worker.

        Raises:
            RedisUnavailable: Redis does not answer, or does not take the message.
        """
        if now_s - self._asked_at_s < SWEEP_EVERY_S:
            return False
        with redis_errors():
            # What an earlier leader asked for changes nothing any more.
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
