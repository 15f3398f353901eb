"""The limits of an API key: its own, and the service's where it has none."""

from __future__ import annotations

from flask import Flask, Response, g

from api.http.rate_counter import POLICY, Quota
from api.services import services
from stentor.errors import RateExceeded
from stentor.owners.access import ApiKey, Limits


def limits_of(key: ApiKey) -> Limits:
    """The limits that apply to a key."""
    own, common = key.limits, services().settings
    return Limits(
        rate=own.rate or common.rate_limit,
        daily_chars=common.daily_chars if own.daily_chars is None else own.daily_chars,
        waiting_jobs=common.max_waiting_jobs if own.waiting_jobs is None else own.waiting_jobs,
    )


def install(app: Flask) -> None:
    """Add the rate limit headers to every response to a key that has a rate."""
    app.after_request(_add_headers)


def count_request(key: ApiKey) -> None:
    """Count this request if the key has a rate. A refused request does not count.

    Raises:
        RateExceeded: the key has reached its rate.
        RedisUnavailable: Redis does not answer.
    """
    rate = limits_of(key).rate
    if rate is None:
        return
    allowed, g.quota = services().rates.hit(key.id, rate)
    if not allowed:
        error = RateExceeded(
            f"The key has reached its limit of {rate.replace('/', ' requests per ')}. Retry in {g.quota.reset_s} s."
        )
        error.retry_after_s = g.quota.reset_s
        raise error


def _add_headers(response: Response) -> Response:
    """Headers of draft-ietf-httpapi-ratelimit-headers-10."""
    quota: Quota | None = g.get("quota")
    if quota is not None:
        response.headers["RateLimit-Policy"] = f'"{POLICY}";q={quota.limit};w={quota.window_s}'
        response.headers["RateLimit"] = f'"{POLICY}";r={quota.remaining};t={quota.reset_s}'
    return response
