"""Whose things there are: the owners of all keys, and those whose keys were revoked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from stentor.owners.access import KeyStore
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from worker.sweeps.round import Round

#: Keys that one sweep goes through at most, and in one call. Only of an owner whose keys were revoked before the first
#: sweep nothing is known otherwise.
KEYS_AT_MOST, KEYS_AT_ONCE = 100_000, 5000
#: Kinds of keys that end with an owner, all with an ``s`` before it, and one that has an index behind it.
_MATCH: Final = "stentor:*s:*"
_OF_OWNERS: Final = frozenset({"bulks", "webhooks", "callbacks", "recordings"})
_JOBS: Final = "jobs"


def owners(sweep: Round) -> Sequence[str]:
    """All known owners that may have data; an owner is remembered when its keys are revoked.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    found = {key.owner for key in KeyStore(sweep.client).list()} | _scan(sweep)
    with redis_errors():
        if found:
            sweep.client.sadd(keys.OWNERS, *found)
        return sorted(text_list(sweep.client.smembers(keys.OWNERS)))


def _scan(sweep: Round) -> set[str]:
    """Owners by whatever keys the next part of the database has."""
    found: set[str] = set()
    cursor = int(sweep.progress.get("owners") or 0)
    for _ in range(KEYS_AT_MOST // KEYS_AT_ONCE):
        with redis_errors():
            answer = sweep.client.scan(cursor, match=_MATCH, count=KEYS_AT_ONCE)
        cursor, names = cast("tuple[int, list[str]]", answer)
        found |= {owner for name in names if (owner := owner_of(name))}
        if cursor == 0:
            break
    sweep.progress.put("owners", str(cursor) if cursor else "")
    return found


def owner_of(key: str) -> str | None:
    """The owner that a key names; None if it names none."""
    if key == keys.ACTIVE_BULKS:
        return None
    kind, _, rest = key.removeprefix("stentor:").partition(":")
    if kind == _JOBS:
        return rest.rpartition(":")[0] or None
    return rest or None if kind in _OF_OWNERS else None
