"""``stentor keys``: creates, lists and revokes API keys, and shows their usage."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from datetime import date, datetime

import click
import redis

from stentor.cli import exit_codes, output
from stentor.cli.finding import find_settings
from stentor.cli.time_types import FutureTime, PastDay
from stentor.owners.access import READ, SCOPES, SUBMIT, VOICES, ApiKey, KeyStore, Limits
from stentor.owners.usage import Usage, UsageStore, today
from stentor.redis import client as redis_client
from stentor.settings import RATE

#: Scopes of a new key: everything for clients, but no orders to devices.
DEFAULT_SCOPES = (SUBMIT, READ, VOICES)


class Rate(click.ParamType[str]):
    """A number of requests per time."""

    name = "n/span"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The rate, unchanged."""
        if not re.fullmatch(RATE, value):
            self.fail(
                f"Not a rate: {value!r}. Use a number per second, minute, hour or day, such as 600/minute.", param, ctx
            )
        return value


@click.group()
def keys() -> None:
    """Create, list and revoke API keys, in the Redis of STENTOR_REDIS_URL or of the running `stentor up`."""


@contextlib.contextmanager
def _redis() -> Iterator[redis.Redis]:
    with contextlib.closing(redis_client.connect(find_settings())) as client:
        yield client


@keys.command()
@click.option("--owner", required=True, help="Owner of the key. All keys of an owner see the same jobs.")
@click.option("--name", default="", help="Description of the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=DEFAULT_SCOPES,
    show_default=True,
    help="What the key may do. Can be given several times.",
)
@click.option(
    "--expires",
    type=FutureTime(),
    help="When the key expires: a duration such as 12h or 30d, or a date (UTC).  [default: never]",
)
@click.option("--rate", type=Rate(), help="Maximum request rate, such as 600/minute.  [default: STENTOR_RATE_LIMIT]")
@click.option(
    "--daily-chars",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of characters per day (UTC).  [default: STENTOR_DAILY_CHARS]",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of its waiting jobs.  [default: STENTOR_MAX_WAITING_JOBS]",
)
@output.json_option
def create(
    owner: str,
    name: str,
    scopes: tuple[str, ...],
    expires: datetime | None,
    rate: str | None,
    daily_chars: int | None,
    max_waiting: int | None,
    json_wanted: bool,
) -> None:
    """Create a key and print it. It is not shown again."""
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
    if json_wanted:
        output.print_json({**dataclasses.asdict(key), "key": secret})
    else:
        click.echo(secret)
        click.echo("Save this key: only its hash is stored, and it is not shown again.", err=True)


@keys.command("list")
@output.json_option
def list_keys(json_wanted: bool) -> None:
    """List keys with their ids and limits. The keys themselves are not stored."""
    with _redis() as client:
        found = KeyStore(client).list()
    if json_wanted:
        output.print_json({"keys": [{**dataclasses.asdict(key), "expired": key.is_expired} for key in found]})
    else:
        output.print_table(
            ("id", "owner", "name", "scopes", "created", "expires", "limits"),
            [(key.id, key.owner, key.name, key.scopes, key.created_at, _end(key), _limits(key)) for key in found],
        )


def _end(key: ApiKey) -> str | None:
    return f"{key.expires_at} (expired)" if key.is_expired else key.expires_at


def _limits(key: ApiKey) -> str:
    own = key.limits
    limits = (
        own.rate,
        own.daily_chars and f"{own.daily_chars} characters/day",
        own.waiting_jobs and f"{own.waiting_jobs} waiting",
    )
    return ", ".join(limit for limit in limits if limit)


@keys.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Revoke a key by its id. It is refused within a second."""
    with _redis() as client:
        done = KeyStore(client).revoke(key_id)
    if not done:
        click.echo(f"error: Unknown key id {key_id!r}. `stentor keys list` lists the ids.", err=True)
        raise click.exceptions.Exit(exit_codes.NOT_FOUND)
    click.echo(f"revoked {key_id}")


@keys.command()
@click.option("--owner", help="Only the keys of this owner.  [default: all owners]")
@click.option(
    "--since", type=PastDay(), default="30d", show_default=True, help="First day: days ago such as 7d, or a date (UTC)."
)
@output.json_option
def usage(owner: str | None, since: date, json_wanted: bool) -> None:
    """Show the usage per key and day (UTC)."""
    with _redis() as client:
        known = KeyStore(client).list()
        store = UsageStore(client)
        owners = [owner] if owner is not None else sorted({key.owner for key in known})
        found = [(name, used) for name in owners for used in store.of(name, since=since, until=today(), known=known)]
    if json_wanted:
        output.print_json({"usage": [_usage_row(name, used) for name, used in found]})
    else:
        output.print_table(
            ("date", "owner", "key", "name", "jobs", "characters", "audio_s", "device_s"),
            [tuple(_usage_row(name, used).values()) for name, used in found],
        )


def _usage_row(owner: str, used: Usage) -> dict[str, object]:
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
