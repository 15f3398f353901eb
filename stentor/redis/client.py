"""Connections to Redis: a client with timeouts and retries, scripts, and Redis's errors as ours."""

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

#: Timeout of an attempt to connect, in seconds. Redis on the same network answers in milliseconds.
CONNECT_TIMEOUT_S = 3
#: The same for a sentinel: others can be asked.
SENTINEL_TIMEOUT_S = 1
#: Timeout of an answer, in seconds; `appendfsync always` on a slow disk was seen to take one second.
ANSWER_TIMEOUT_S = 10
#: How long replicas may take to receive a write. On the same network they need a millisecond.
REPLICAS_TIMEOUT_MS = 3000


def connect(settings: Settings, *, retries: int = 2, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> redis.Redis:
    """A client that answers with text and retries a broken or silent connection ``retries`` times; safe for threads.

    A retry is safe because every write of ours may be sent twice without harm (see ``stentor/redis/lua``).
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
    """A client that asks the sentinels for the master each time it connects."""
    timeouts = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
    sentinel = Sentinel(known.hosts, sentinel_kwargs={**timeouts, **known.sentinel_options})  # type: ignore[no-untyped-call]
    login = {"db": known.db, "username": known.username, "password": known.password}
    made: redis.Redis = sentinel.master_for(known.master, ssl=known.tls, **login, **known.tls_options, **options)  # type: ignore[no-untyped-call]
    return made


def script(client: redis.Redis, name: str) -> Script:
    """The Lua script ``stentor/redis/lua/<name>.lua``, sent by its hash and loaded when Redis does not know it."""
    return client.register_script(source(name))


def call_replicated(called: Script, replicas: int, *, keys: Sequence[str], args: Sequence[Any]) -> Any:
    """The answer of a script, as soon as this number of replicas has its writes, too.

    Raises:
        RedisUnavailable: fewer replicas have them in time. The master has them; calling again does no harm.
    """
    with redis_errors():
        if not replicas:
            return called(keys=keys, args=args)
        # WAIT counts the writes of its own connection, and a pipeline uses one connection.
        pipe = called.registered_client.pipeline(transaction=False)
        called(keys=keys, args=args, client=pipe)
        pipe.wait(replicas, REPLICAS_TIMEOUT_MS)
        answer, reached = pipe.execute()
    if reached < replicas:
        raise RedisUnavailable(
            f"Only {reached} replicas of Redis have the write; STENTOR_REDIS_REPLICAS is {replicas}."
        )
    return answer


def text_map(answer: object) -> dict[str, str]:
    """A hash from Redis. ``connect`` asks for text, which redis-py's types do not show."""
    return cast("dict[str, str]", answer)


def text_list(answer: Collection[object]) -> list[str]:
    """A list or set from Redis, as text."""
    return cast("list[str]", list(answer))


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Raise ``RedisUnavailable`` for every error of Redis or its connection in the block."""
    try:
        yield
    except redis.RedisError as exc:
        if (why := distrust(exc)) is not None:
            raise RedisUntrusted(why) from exc
        raise RedisUnavailable(f"Redis failed: {type(exc).__name__}: {exc}") from exc


def distrust(exc: BaseException | None) -> str | None:
    """A sentence about the server's certificate, if that is why the connection failed; else None."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return (
                f"The certificate of Redis is not trusted: {exc.verify_message}. Set STENTOR_REDIS_TLS_CA to a file of "
                "the certificate authorities to trust; if it is not set, those of the system are trusted."
            )
        exc = exc.__cause__ or exc.__context__
    return None
