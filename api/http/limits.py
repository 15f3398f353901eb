"""How much a key may: its own limits, and the service's where it has none."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import redis
from flask import Flask, Response, g
from flask_limiter import Limiter, RateLimitExceeded

from api.services import services
from stentor.errors import RateExceeded
from stentor.owners.access import ApiKey, Limits
from stentor.redis import keys
from stentor.redis.client import redis_errors

#: Two counters a key, however high its rate is. A moving window would keep the time of every request.
STRATEGY = "sliding-window-counter"
#: What the policy is called in the headers: it counts by API key.
POLICY = "key"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quota:
    """What is left of a key's rate."""

    most: int
    window_s: int
    left: int
    #: Until when more is left.
    more_at: float

    @property
    def more_in_s(self) -> int:
        """Whole seconds until more is left."""
        return max(1, math.ceil(self.more_at - time.time()))


def limits_of(key: ApiKey) -> Limits:
    """The limits that hold for a key."""
    own, common = key.limits, services().settings
    return Limits(
        rate=own.rate or common.rate_limit,
        daily_chars=common.daily_chars if own.daily_chars is None else own.daily_chars,
        waiting_jobs=common.max_waiting_jobs if own.waiting_jobs is None else own.waiting_jobs,
    )


def install(app: Flask, client: redis.Redis) -> None:
    """Count requests in our Redis, and tell keys that have a rate what is left of it."""
    limiter = Limiter(
        key_func=_key_id,
        request_identifier=lambda: POLICY,
        strategy=STRATEGY,
        # The scheme picks the storage; where it is, and its passwords and timeouts, our pool knows.
        storage_uri="redis://",
        storage_options={"connection_pool": client.connection_pool, "key_prefix": keys.LIMITS_PREFIX},  # type: ignore[dict-item]
    )
    # An app that knows the limiter gets no hooks of it. They would run before the key is known, and cost every request,
    # also of keys that have no rate, a twelfth of a submission's CPU time.
    app.extensions["limiter"] = {limiter}
    limiter.init_app(app)
    app.extensions["stentor_count"] = _counter(limiter)
    app.after_request(_tell)


def count(app: Flask, key: ApiKey) -> None:
    """Count this request of a key that has a rate; others cost nothing. One that is refused does not count.

    Raises:
        RateExceeded: the key has sent as many as it may.
        RedisUnavailable: nobody can tell.
    """
    rate = limits_of(key).rate
    if rate is None:
        return
    g.rate, g.rated_key = rate, key
    g.quota, refused = app.extensions["stentor_count"]()
    if refused:
        error = RateExceeded(f"the key may send {rate.replace('/', ' requests per ')}; it has sent as many")
        error.retry_after_s = g.quota.more_in_s
        raise error


def _counter(limiter: Limiter) -> Callable[[], tuple[Quota, bool]]:
    """What counts a request; it says what is left, and whether that was too little."""

    @limiter.shared_limit(lambda: str(g.rate), scope=POLICY)
    def hit() -> None:
        pass

    def counted() -> tuple[Quota, bool]:
        with redis_errors():
            try:
                hit()
                refused = False
            except RateLimitExceeded:
                refused = True
            limit = limiter.current_limit
            assert limit is not None
            more_at, left = limit.window
            window_s = limit.limit.get_expiry()
            return Quota(most=limit.limit.amount, window_s=window_s, left=left, more_at=more_at), refused

    return counted


def _key_id() -> str:
    key: ApiKey = g.rated_key
    return key.id


def _tell(response: Response) -> Response:
    """Headers as draft-ietf-httpapi-ratelimit-headers-10 has them."""
    quota: Quota | None = g.get("quota")
    if quota is not None:
        response.headers["RateLimit-Policy"] = f'"{POLICY}";q={quota.most};w={quota.window_s}'
        response.headers["RateLimit"] = f'"{POLICY}";r={quota.left};t={quota.more_in_s}'
    return response
