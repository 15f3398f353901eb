"""Requests that came with an idempotency key, in Redis: who is at it, and what the answer was."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import secrets
import threading
import time
from typing import Final

import redis
from ulid import ULID

from stentor import log
from stentor.errors import IdempotencyInFlight, IdempotencyKeyReused, RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors, script

_log = log.get(__name__)

#: How long a request is held without a sign of life: after a crash another try is let in, that soon.
LEASE_S: Final = 20.0
#: How often the sign is given.
RENEW_S: Final = 5.0
#: Compressed bytes of an answer that are kept. (A list of 1,000 jobs has 60 kB.) A larger one is made again.
MOST_BYTES: Final = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered first."""

    status: int
    content_type: str
    location: str
    body: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Begun:
    """A request that somebody is at; all who try again derive the same ids from ``base``."""

    key: str
    holder: str
    base: ULID
    #: The first answer, if there was one.
    answer: Answer | None = None


class Records:
    """The requests of all owners. Safe for threads.

    Raises:
        RedisUnavailable: from ``begin``, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, keep_s: int) -> None:
        self._begin = script(client, "idempotency/begin")
        self._end = script(client, "idempotency/end")
        self._keep_s = keep_s
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._renewing = False

    def begin(self, owner: str, name: str, request: str) -> Begun:
        """Take up the request of this digest that came with the idempotency key ``name``.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            IdempotencyInFlight: somebody is at it.
        """
        key, holder = keys.idempotency(owner, name), secrets.token_hex(8)
        with redis_errors():
            found = self._begin(keys=[key], args=[request, str(ULID()), holder, time.time(), LEASE_S, self._keep_s])
        if found[0] == "other":
            raise IdempotencyKeyReused("this Idempotency-Key came with another request before; a new one is wanted")
        if found[0] == "running":
            raise IdempotencyInFlight("the first request with this Idempotency-Key is still being answered")
        if found[0] == "answered":
            return Begun(key=key, holder="", base=ULID.from_str(found[1]), answer=_unpacked(*found[2:]))
        self._hold(key, holder)
        return Begun(key=key, holder=holder, base=ULID.from_str(found[1]))

    def end(self, begun: Begun, answer: Answer | None) -> None:
        """Let go of the request; ``answer`` is what who tries again is told, None if it is to be made again.

        If Redis is away the request lapses by itself, and making it again makes the same.
        """
        with self._lock:
            self._held.pop(begun.key, None)
        try:
            with redis_errors():
                self._end(keys=[begun.key], args=[begun.holder, "", *_packed(answer)])
        except RedisUnavailable as exc:
            _log.warning("answer_not_remembered", reason=exc.detail)

    def _hold(self, key: str, holder: str) -> None:
        with self._lock:
            self._held[key] = holder
            if self._renewing:
                return
            self._renewing = True
        threading.Thread(target=self._renew, name="idempotency", daemon=True).start()

    def _renew(self) -> None:
        """Give signs of life for all that are held; the thread ends when nothing is."""
        while True:
            time.sleep(RENEW_S)
            with self._lock:
                held = dict(self._held)
                if not held:
                    self._renewing = False
                    return
            try:
                with redis_errors():
                    for key, holder in held.items():
                        self._end(keys=[key], args=[holder, time.time() + LEASE_S])
            except RedisUnavailable as exc:
                _log.warning("request_not_held_on", reason=exc.detail)


def _packed(answer: Answer | None) -> list[str | int]:
    if answer is None:
        return []
    # Text, as everything else in Redis; base64 adds a third to a twentieth.
    body = gzip.compress(answer.body, compresslevel=1)
    if len(body) > MOST_BYTES:
        return []
    return [
        "status",
        answer.status,
        "content_type",
        answer.content_type,
        "location",
        answer.location,
        "body",
        base64.b64encode(body).decode(),
    ]


def _unpacked(status: str, content_type: str, location: str, body: str) -> Answer:
    return Answer(
        status=int(status),
        content_type=content_type,
        location=location,
        body=gzip.decompress(base64.b64decode(body)),
    )
