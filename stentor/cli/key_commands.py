"""``stentor keys``: who may send requests."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import click

from stentor import redis_client
from stentor.access import KeyStore
from stentor.cli import exit_codes, output
from stentor.cli.finding import find_settings


@click.group()
def keys() -> None:
    """Create, list and revoke API keys, in the Redis of STENTOR_REDIS_URL or of the running `stentor up`."""


@contextlib.contextmanager
def _store() -> Iterator[KeyStore]:
    with contextlib.closing(redis_client.connect(find_settings())) as client:
        yield KeyStore(client)


@keys.command()
@click.option("--owner", required=True, help="Whose jobs the key sees; keys of one owner share them.")
@click.option("--name", default="", help="What the key is for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(owner: str, name: str, as_json: bool) -> None:
    """Create a key and show it, this once."""
    with _store() as store:
        secret = store.create(owner=owner, name=name)
    if as_json:
        output.as_json({"owner": owner, "name": name, "key": secret})
    else:
        click.echo(secret)
        click.echo("Keep it: only its hash is stored, and it is not shown again.", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List the keys that were created; the keys themselves are not stored."""
    with _store() as store:
        found = store.list()
    if as_json:
        output.as_json({"keys": [dataclasses.asdict(key) for key in found]})
    else:
        output.table(
            ("id", "owner", "name", "created"), [(key.id, key.owner, key.name, key.created_at) for key in found]
        )


@keys.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Revoke a key by its id; it is refused from then on."""
    with _store() as store:
        done = store.revoke(key_id)
    if not done:
        click.echo(f"error: no key has the id {key_id!r}; `stentor keys list` shows them", err=True)
        raise click.exceptions.Exit(exit_codes.NOT_FOUND)
    click.echo(f"revoked {key_id}")
