"""``stentor keys``: who may send requests, which ones, how many, and what they used."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import click
import redis

from stentor.cli import exit_codes, output
from stentor.cli.finding import find_settings
from stentor.days import USAGE_KEPT_DAYS
from stentor.owners.access import READ, SCOPES, SUBMIT, VOICES, ApiKey, KeyStore, Limits
from stentor.owners.usage import Usage, UsageStore, today
from stentor.redis import client as redis_client
from stentor.settings import RATE

#: What a key may do unless somebody says so: all that a client does, and no orders to devices.
DEFAULT_SCOPES = (SUBMIT, READ, VOICES)
#: A span of time as people write it, and hours in each.
_SPAN = re.compile(r"([1-9]\d{0,5})([hd])")
_HOURS = {"h": 1, "d": 24}


class Rate(click.ParamType[str]):
    """Requests in a span of time."""

    name = "n/span"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The rate as it was written."""
        if not re.fullmatch(RATE, value):
            self.fail(f"{value!r} is no rate; wanted is one as 600/minute: per second, minute, hour or day", param, ctx)
        return value


class Ahead(click.ParamType[datetime]):
    """A moment to come: so long from now, or the beginning of a day."""

    name = "when"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment in UTC."""
        if isinstance(value, datetime):
            return value
        now = datetime.now(UTC).replace(microsecond=0)
        when = now + span if (span := _span(value)) else _beginning(value)
        if when is None:
            self.fail(f"{value!r} is no time; wanted is one as 12h, 30d or 2026-12-31", param, ctx)
        if when <= now:
            self.fail(f"{value} is over; a time to come is wanted", param, ctx)
        return when


class Since(click.ParamType[date]):
    """A day that was: so long ago, or as it is written."""

    name = "when"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day in UTC, not further back than usage is kept."""
        if isinstance(value, date):
            return value
        day = today() - span if (span := _span(value)) else _beginning(value)
        if day is None:
            self.fail(f"{value!r} is no day; wanted is one as 7d or 2026-11-01", param, ctx)
        found = day.date() if isinstance(day, datetime) else day
        return min(max(found, today() - timedelta(days=USAGE_KEPT_DAYS - 1)), today())


def _span(value: str) -> timedelta | None:
    found = _SPAN.fullmatch(value)
    return timedelta(hours=int(found[1]) * _HOURS[found[2]]) if found else None


def _beginning(value: str) -> datetime | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return None


@click.group()
def keys() -> None:
    """Create, list and revoke API keys, in the Redis of STENTOR_REDIS_URL or of the running `stentor up`."""


@contextlib.contextmanager
def _redis() -> Iterator[redis.Redis]:
    with contextlib.closing(redis_client.connect(find_settings())) as client:
        yield client


@keys.command()
@click.option("--owner", required=True, help="Whose jobs the key sees; keys of one owner share them.")
@click.option("--name", default="", help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=DEFAULT_SCOPES,
    show_default=True,
    help="What the key may do; may be given several times.",
)
@click.option("--expires", type=Ahead(), help="When it ends: 12h, 30d, or a date (UTC).")
@click.option("--rate", type=Rate(), help="Requests that it may send, as 600/minute.")
@click.option(
    "--daily-chars", type=click.IntRange(1), metavar="N", help="Characters that it may submit in a day (UTC)."
)
@click.option("--max-waiting", type=click.IntRange(1), metavar="N", help="Jobs of it that may wait at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    owner: str,
    name: str,
    scopes: tuple[str, ...],
    expires: datetime | None,
    rate: str | None,
    daily_chars: int | None,
    max_waiting: int | None,
    as_json: bool,
) -> None:
    """Create a key and show it, this once."""
    with _redis() as client:
        store = KeyStore(client)
        secret = store.create(
            owner=owner,
            name=name,
            scopes=scopes,
            expires_at=expires.isoformat() if expires else None,
            limits=Limits(rate=rate, daily_chars=daily_chars, waiting_jobs=max_waiting),
        )
        key = store.find(secret)
    if as_json:
        output.as_json({**dataclasses.asdict(key), "key": secret})
    else:
        click.echo(secret)
        click.echo("Keep it: only its hash is stored, and it is not shown again.", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List the keys that were created; the keys themselves are not stored."""
    with _redis() as client:
        found = KeyStore(client).list()
    if as_json:
        output.as_json({"keys": [{**dataclasses.asdict(key), "expired": key.is_expired} for key in found]})
    else:
        output.table(
            ("id", "owner", "name", "scopes", "created", "expires", "limits"),
            [(key.id, key.owner, key.name, key.scopes, key.created_at, _end(key), _limits(key)) for key in found],
        )


def _end(key: ApiKey) -> str | None:
    return f"{key.expires_at} (over)" if key.is_expired else key.expires_at


def _limits(key: ApiKey) -> str:
    own = key.limits
    told = (
        own.rate,
        own.daily_chars and f"{own.daily_chars} characters/day",
        own.waiting_jobs and f"{own.waiting_jobs} waiting",
    )
    return ", ".join(limit for limit in told if limit)


@keys.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Revoke a key by its id; within a second it is refused."""
    with _redis() as client:
        done = KeyStore(client).revoke(key_id)
    if not done:
        click.echo(f"error: no key has the id {key_id!r}; `stentor keys list` shows them", err=True)
        raise click.exceptions.Exit(exit_codes.NOT_FOUND)
    click.echo(f"revoked {key_id}")


@keys.command()
@click.option("--owner", help="Whose keys; all owners' if absent.")
@click.option("--since", type=Since(), default="30d", show_default=True, help="The first day: 7d, or a date (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def usage(owner: str | None, since: date, as_json: bool) -> None:
    """Show what keys used, per key and day (UTC)."""
    with _redis() as client:
        known = KeyStore(client).list()
        store = UsageStore(client)
        owners = [owner] if owner is not None else sorted({key.owner for key in known})
        found = [(name, used) for name in owners for used in store.of(name, since=since, until=today(), known=known)]
    if as_json:
        output.as_json({"usage": [_shown(name, used) for name, used in found]})
    else:
        output.table(
            ("date", "owner", "key", "name", "jobs", "characters", "audio_s", "device_s"),
            [tuple(_shown(name, used).values()) for name, used in found],
        )


def _shown(owner: str, used: Usage) -> dict[str, object]:
    return {
        "date": used.date.isoformat(),
        "owner": owner,
        "key_id": used.key_id,
        "key_name": used.key_name,
        "jobs": used.jobs,
        "characters": used.characters,
        "audio_s": used.audio_s,
        "device_s": used.device_s,
    }
