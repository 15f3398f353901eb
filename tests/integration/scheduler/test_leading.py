"""Of all schedulers one at a time acts for the cluster, on a real Valkey."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis

from scheduler.leading import Leader
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings

#: A scheduler that does nothing but lead: a line with its token at each line that it is sent.
LEADS = """
import os, sys
from scheduler.leading import Leader
from stentor.redis.client import connect
from stentor.settings import Settings
leader = Leader(connect(Settings.from_environ(os.environ)), "other")
for _ in sys.stdin:
    print(leader.token(), flush=True)
"""


def gone(client: redis.Redis) -> None:
    """Do what ten seconds without a word do."""
    client.delete(keys.LEADER)


def test_one_of_two_leads_and_keeps_its_number(client: redis.Redis) -> None:
    one, other = Leader(client, "gpu-1"), Leader(client, "gpu-2")
    token = one.token()
    assert token is not None
    assert (one.token(), other.token(), one.token()) == (token, None, token)
    assert client.get(keys.FENCE) == str(token)
    assert 9_000 < client.pttl(keys.LEADER) <= 10_000


def test_two_of_the_same_name_do_not_lead_together(client: redis.Redis) -> None:
    assert [Leader(client, "gpu-1").token() is None for _ in range(3)] == [False, True, True]


def test_the_next_leader_has_a_higher_number(client: redis.Redis) -> None:
    one, other = Leader(client, "gpu-1"), Leader(client, "gpu-2")
    first = one.token() or 0
    gone(client)
    second = other.token() or 0
    assert second > first > 0
    assert one.token() is None
    gone(client)
    assert (one.token() or 0) > second


def test_who_resigns_lets_another_lead_at_once_and_cannot_resign_for_it(client: redis.Redis) -> None:
    one, other = Leader(client, "gpu-1"), Leader(client, "gpu-2")
    first = one.token() or 0
    one.resign()
    second = other.token() or 0
    assert second > first
    one.resign()
    assert (one.token(), other.token()) == (None, second)


@contextlib.contextmanager
def another(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "STENTOR_REDIS_URL": settings.redis_url.get_secret_value()}
    process = subprocess.Popen(
        [sys.executable, "-c", LEADS], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)


def asked(process: subprocess.Popen[str]) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_leader_that_was_frozen_finds_out_when_it_wakes(client: redis.Redis, settings: Settings) -> None:
    mine = Leader(client, "mine")
    with another(settings) as frozen:
        before = int(asked(frozen))
        frozen.send_signal(signal.SIGSTOP)
        assert mine.token() is None
        gone(client)
        token = mine.token()
        frozen.send_signal(signal.SIGCONT)
        assert asked(frozen) == "None"
        # What it may have begun before it asked is refused by its number.
        assert before < int(str(client.get(keys.FENCE))) == token


def test_a_redis_that_lost_its_data_gives_out_no_number_twice(client: redis.Redis) -> None:
    one, other = Leader(client, "gpu-1"), Leader(client, "gpu-2")
    first = one.token() or 0
    client.flushall()
    second = other.token() or 0
    client.delete(keys.FENCE)
    third = other.token() or 0
    assert first < second < third
    assert one.token() is None


def test_numbers_grow_within_a_microsecond_and_under_a_clock_that_went_back(client: redis.Redis) -> None:
    ahead = round((time.time() + 3600) * 1_000_000)
    client.set(keys.FENCE, ahead)
    leader = Leader(client, "gpu-1")
    assert leader.token() == ahead + 1
    leader.resign()
    assert leader.token() == ahead + 2


def test_nobody_leads_while_redis_is_away(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")})
    leader = Leader(connect(nowhere, retries=0), "gpu-1")
    with pytest.raises(RedisUnavailable):
        leader.token()
