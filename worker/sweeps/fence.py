"""The fence: a sweeper changes something only as long as no later leader has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.commands.core import Script
from redis.exceptions import ResponseError

from stentor.errors import StentorError
from stentor.redis import keys
from stentor.redis.client import redis_errors, script

#: What scripts of sweeps answer to a sweeper that was overtaken.
STALE: Final = "STALE"


class SweepOvertaken(StentorError):
    """A later leader has come; its sweeps do what is left to do."""


class Fence:
    """What a sweep may change under its leader's token. Scripts look at the fence themselves, in the same moment.

    Raises:
        SweepOvertaken: from every method, when a later leader has come; nothing was changed then.
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, token: int) -> None:
        self._client = client
        self.token = token
        self._scripts: dict[str, Script] = {}

    def check(self) -> None:
        """Look at the fence before something is changed that no script reaches, as objects in S3."""
        with redis_errors():
            latest = int(str(self._client.get(keys.FENCE) or 0))
        if latest > self.token:
            raise SweepOvertaken(f"leader {latest} has come after leader {self.token}, who asked for this sweep")

    def run(self, name: str, places: Sequence[str], *args: str | int | float) -> Any:
        """The answer of ``stentor/redis/lua/<name>.lua``.

        Its keys are the fence and ``places``, its arguments the token and ``args``.
        """
        if name not in self._scripts:
            self._scripts[name] = script(self._client, name)
        with redis_errors():
            try:
                return self._scripts[name](keys=[keys.FENCE, *places], args=[self.token, *args])
            except ResponseError as exc:
                if not str(exc).startswith(STALE):
                    raise
                raise SweepOvertaken(f"a later leader has come after {self.token}, who asked for this sweep") from exc
