"""The one way to Redis: a client with sane timeouts, and Redis's errors told as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from importlib import resources
from typing import cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.retry import Retry

from stentor.errors import RedisUnavailable
from stentor.settings import Settings

#: Seconds until an attempt to connect is given up. Redis on the same network answers in milliseconds.
CONNECT_TIMEOUT_S = 3
#: Seconds until an answer is given up; `appendfsync always` on a slow disk has been seen to take one.
ANSWER_TIMEOUT_S = 10
#: First line of a script that uses the functions of ``shared.lua``.
SHARED = "--!shared"


def connect(settings: Settings, *, retries: int = 2, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> redis.Redis:
    """A client that answers text, tries a broken or silent connection ``retries`` times again; safe for threads.

    Every write of ours may be sent twice without harm (see ``stentor/lua``), so that trying again is safe.
    """
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=answer_timeout_s,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
    )


def script(client: redis.Redis, name: str) -> Script:
    """The Lua script ``stentor/lua/<name>.lua``, sent by its hash and loaded when Redis does not know it."""
    source = _lua(name)
    # Lua in Redis has no includes.
    return client.register_script(_lua("shared") + source if source.startswith(SHARED) else source)


def _lua(name: str) -> str:
    return resources.files("stentor").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def text_map(answer: object) -> dict[str, str]:
    """A hash that Redis answered. ``connect`` asks for text, which redis-py's types cannot know."""
    return cast("dict[str, str]", answer)


def text_list(answer: Collection[object]) -> list[str]:
    """A list or set that Redis answered, as text."""
    return cast("list[str]", list(answer))


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Raise ``RedisUnavailable`` for whatever Redis or the way to it refuses within."""
    try:
        yield
    except redis.RedisError as exc:
        raise RedisUnavailable(f"Redis did not do what was asked: {type(exc).__name__}: {exc}") from exc
