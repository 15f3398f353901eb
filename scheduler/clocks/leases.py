"""Leases of low clocks, in Redis: the next scheduler of a host reads which GPUs this one lowered."""

from __future__ import annotations

import json
import os

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list


class Leases:
    """The GPUs of one host that were lowered and not yet reset.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, host: str) -> None:
        self._client = client
        self._key = keys.clocks(host)

    def all(self) -> frozenset[str]:
        """The leased GPUs, by UUID."""
        with redis_errors():
            return frozenset(text_list(self._client.hkeys(self._key)))

    def take(self, gpu: str, now: float) -> None:
        """Record that this process lowers a GPU. Call it before lowering."""
        with redis_errors():
            self._client.hset(self._key, gpu, json.dumps({"since": now, "pid": os.getpid()}))

    def end(self, gpu: str) -> None:
        """Record that a GPU was reset. Call it after the reset."""
        with redis_errors():
            self._client.hdel(self._key, gpu)
