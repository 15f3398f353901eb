"""Usage: what each API key used on each day (UTC)."""

from __future__ import annotations

import time
from typing import Final

import redis

from stentor import keys
from stentor.access import Limits
from stentor.errors import DailyCharsExceeded
from stentor.redis_client import redis_errors, script

DAY_S: Final = 86_400
#: How long the usage of a day can be asked for, in seconds: 400 days, as in ``submit.lua`` and ``shared.lua``.
KEPT_S: Final = 400 * DAY_S


class UsageStore:
    """What keys used.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._count = script(client, "count_characters")

    def add_characters(self, key_id: str, owner: str, chars: int, limits: Limits) -> None:
        """Count characters that a key submits today.

        Raises:
            DailyCharsExceeded: it would be more than the key may; nothing was counted.
        """
        most = -1 if limits.daily_chars is None else limits.daily_chars
        with redis_errors():
            used = self._count(
                keys=[keys.usage(key_id, int(time.time() // DAY_S)), keys.users(owner)],
                args=[key_id, chars, most, KEPT_S],
            )
        if used != -1:
            raise DailyCharsExceeded(
                f"the key has submitted {used} of its {limits.daily_chars} characters of today; "
                f"{chars} more are too many"
            )
