"""The one way to Redis: a client with sane timeouts, and Redis's errors told as ours."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import Script
from redis.retry import Retry
from redis.sentinel import Sentinel

from stentor.errors import RedisUnavailable, RedisUntrusted
from stentor.redis.scripts import source
from stentor.redis.url import Sentinels, sentinels_of, server_tls
from stentor.settings import Settings

#: Seconds until an attempt to connect is given up. Redis on the same network answers in milliseconds.
CONNECT_TIMEOUT_S = 3
#: The same for a sentinel: there are others to ask.
SENTINEL_TIMEOUT_S = 1
#: Seconds until an answer is given up; `appendfsync always` on a slow disk has been seen to take one.
ANSWER_TIMEOUT_S = 10
#: How long replicas may take to have a write. On the same network that takes a millisecond.
REPLICAS_TIMEOUT_MS = 3000


def connect(settings: Settings, *, retries: int = 2, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> redis.Redis:
    """A client that answers text, tries a broken or silent connection ``retries`` times again; safe for threads.

    Every write of ours may be sent twice without harm (see ``stentor/redis/lua``), so that trying again is safe.
    """
    url = settings.redis_url.get_secret_value()
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries)
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": answer_timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "retry": retry,
    }
    known = sentinels_of(url, settings.redis_tls_ca)
    if known is None:
        return redis.Redis.from_url(url, **options, **server_tls(url, settings.redis_tls_ca))
    return _master(known, options)


def _master(known: Sentinels, options: Mapping[str, Any]) -> redis.Redis:
    """A client that asks the sentinels for the master whenever it connects."""
    timeouts = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
    sentinel = Sentinel(known.hosts, sentinel_kwargs={**timeouts, **known.sentinel_options})  # type: ignore[no-untyped-call]
    login = {"db": known.db, "username": known.username, "password": known.password}
    made: redis.Redis = sentinel.master_for(known.master, ssl=known.tls, **login, **known.tls_options, **options)  # type: ignore[no-untyped-call]
    return made


def script(client: redis.Redis, name: str) -> Script:
    """The Lua script ``stentor/redis/lua/<name>.lua``, sent by its hash and loaded when Redis does not know it."""
    return client.register_script(source(name))


def replicated(called: Script, replicas: int, *, keys: Sequence[str], args: Sequence[Any]) -> Any:
    """What a script answered, when so many replicas of Redis have what it wrote, too.

    Raises:
        RedisUnavailable: fewer have it in time. The master has it all the same; calling again does no harm.
    """
    with redis_errors():
        if not replicas:
            return called(keys=keys, args=args)
        # WAIT is about what its own connection has written; in a pipeline that is the same one.
        pipe = called.registered_client.pipeline(transaction=False)
        called(keys=keys, args=args, client=pipe)
        pipe.wait(replicas, REPLICAS_TIMEOUT_MS)
        answer, reached = pipe.execute()
    if reached < replicas:
        raise RedisUnavailable(
            f"{reached} replicas of Redis have what was written; STENTOR_REDIS_REPLICAS is {replicas}"
        )
    return answer


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
        if (why := distrust(exc)) is not None:
            raise RedisUntrusted(why) from exc
        raise RedisUnavailable(f"Redis did not do what was asked: {type(exc).__name__}: {exc}") from exc


def distrust(exc: BaseException | None) -> str | None:
    """A sentence about the server's certificate, if that is why a connection was not made; else None."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return (
                f"Redis shows a certificate that is not trusted: {exc.verify_message}; STENTOR_REDIS_TLS_CA names the "
                "file of the authorities that are, unset the system's"
            )
        exc = exc.__cause__ or exc.__context__
    return None
