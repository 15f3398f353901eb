"""Requests with an idempotency key, in Redis: whether one is in progress, and the stored response."""

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
MAX_BYTES: Final = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredResponse:
    """The first response."""

    status: int
    content_type: str
    location: str
    body: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdempotentRequest:
    """A request with an idempotency key; every attempt derives the same ids from ``base``."""

    key: str
    holder: str
    base: ULID
    #: The first response, if it is stored.
    response: StoredResponse | None = None


class IdempotencyStore:
    """The requests of all owners. Thread-safe.

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

    def begin(self, owner: str, name: str, request: str) -> IdempotentRequest:
        """Begin the request with this digest and the idempotency key ``name``.

        Raises:
            IdempotencyKeyReused: the key was already used for a different request.
            IdempotencyInFlight: the first request is still being answered.
        """
        key, holder = keys.idempotency(owner, name), secrets.token_hex(8)
        with redis_errors():
            found = self._begin(keys=[key], args=[request, str(ULID()), holder, time.time(), LEASE_S, self._keep_s])
        if found[0] == "other":
            raise IdempotencyKeyReused("This Idempotency-Key was already used for a different request. Use a new key.")
        if found[0] == "running":
            raise IdempotencyInFlight(
                "The first request with this Idempotency-Key is still being answered. Retry in a second."
            )
        if found[0] == "answered":
            return IdempotentRequest(key=key, holder="", base=ULID.from_str(found[1]), response=_unpack(*found[2:]))
        self._hold(key, holder)
        return IdempotentRequest(key=key, holder=holder, base=ULID.from_str(found[1]))

    def end(self, begun: IdempotentRequest, response: StoredResponse | None) -> None:
        """Release the request and store its response; None if the next attempt must carry it out again.

        If Redis is away the request expires by itself, and carrying it out again creates the same things.
        """
        with self._lock:
            self._held.pop(begun.key, None)
        try:
            with redis_errors():
                self._end(keys=[begun.key], args=[begun.holder, "", *_pack(response)])
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


def _pack(response: StoredResponse | None) -> list[str | int]:
    if response is None:
        return []
    # Text, like everything else in Redis; base64 adds a third to the compressed twentieth.
    body = gzip.compress(response.body, compresslevel=1)
    if len(body) > MAX_BYTES:
        return []
    return [
        "status",
        response.status,
        "content_type",
        response.content_type,
        "location",
        response.location,
        "body",
        base64.b64encode(body).decode(),
    ]


def _unpack(status: str, content_type: str, location: str, body: str) -> StoredResponse:
    return StoredResponse(
        status=int(status),
        content_type=content_type,
        location=location,
        body=gzip.decompress(base64.b64decode(body)),
    )
