"""Usage per API key and day (UTC): characters when they are submitted, jobs and seconds when jobs succeed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import redis

from stentor.days import DAY_S
from stentor.errors import DailyCharsExceeded
from stentor.owners.access import ApiKey, Limits
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list, text_map

#: Number of hashes that are read in one round trip.
PER_TRIP = 1000
_EPOCH = date(1970, 1, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """Usage of one API key on one day."""

    date: date
    key_id: str
    #: Empty for a revoked key.
    key_name: str
    #: Jobs that succeeded, including cached ones.
    jobs: int = 0
    #: Submitted characters, whatever the outcome of their jobs.
    characters: int = 0
    audio_s: float = 0.0
    #: Time of devices. A cached job takes none.
    device_s: float = 0.0


def today() -> date:
    """The current day (UTC)."""
    return datetime.now(UTC).date()


def too_many_chars(limits: Limits, used: int, more: int) -> DailyCharsExceeded:
    """The error for ``more`` characters from a key that has submitted ``used`` today."""
    error = DailyCharsExceeded(
        f"The API key has submitted {used} of its {limits.daily_chars} characters for today; {more} more are too many. "
        "Try again tomorrow (UTC)."
    )
    error.retry_after_s = DAY_S - time.time() % DAY_S
    return error


class UsageStore:
    """The usage of all API keys. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._count = script(client, "usage/count_bulk")

    def add_characters(self, key_id: str, owner: str, chars: int, limits: Limits, *, bulk: str) -> None:
        """Count the characters of a bulk, which no submission of jobs counts. A second call counts nothing.

        Raises:
            DailyCharsExceeded: the key may not submit this many today; none are counted.
        """
        most = -1 if limits.daily_chars is None else limits.daily_chars
        with redis_errors():
            used = self._count(
                keys=[keys.usage(key_id, int(time.time() // DAY_S)), keys.users(owner), keys.bulk(bulk)],
                args=[key_id, chars, most],
            )
        if int(used) >= 0:
            raise too_many_chars(limits, int(used), chars)

    def of_all(self, *, since: date, until: date, known: Iterable[ApiKey]) -> dict[str, list[Usage]]:
        """Usage of all owners' keys, by owner: owners of ``known`` keys, and all others that ever had one."""
        known = list(known)
        with redis_errors():
            owners = {key.owner for key in known} | set(text_list(self._client.smembers(keys.OWNERS)))
        return {owner: self.of(owner, since=since, until=until, known=known) for owner in sorted(owners)}

    def of(self, owner: str, *, since: date, until: date, known: Iterable[ApiKey]) -> list[Usage]:
        """Usage of the owner's keys by day, from ``since`` to ``until``, both included. ``known`` has their names."""
        names = {key.id: key.name for key in known if key.owner == owner}
        days = [since + timedelta(days=number) for number in range((until - since).days + 1)]
        with redis_errors():
            users = sorted(text_list(self._client.smembers(keys.users(owner))))
            wanted = [(day, key_id) for day in days for key_id in users]
            return [
                _usage(day, key_id, names.get(key_id, ""), fields)
                for (day, key_id), fields in zip(wanted, self._hashes(wanted), strict=True)
                if fields
            ]

    def _hashes(self, wanted: Sequence[tuple[date, str]]) -> Iterator[dict[str, str]]:
        for start in range(0, len(wanted), PER_TRIP):
            pipe = self._client.pipeline(transaction=False)
            for day, key_id in wanted[start : start + PER_TRIP]:
                pipe.hgetall(keys.usage(key_id, (day - _EPOCH).days))
            yield from (text_map(fields) for fields in pipe.execute())


def _usage(day: date, key_id: str, name: str, fields: dict[str, str]) -> Usage:
    return Usage(
        date=day,
        key_id=key_id,
        key_name=name,
        jobs=int(fields.get("jobs", 0)),
        characters=int(fields.get("characters", 0)),
        audio_s=round(float(fields.get("audio_s", 0)), 3),
        device_s=round(float(fields.get("device_s", 0)), 3),
    )
