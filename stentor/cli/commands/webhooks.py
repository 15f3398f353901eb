"""``stentor webhooks``: who is told of outcomes, how that went, and a receiver to try it with."""

from __future__ import annotations

from typing import Any

import click

from stentor.cli import output
from stentor.cli.finding import find_api
from stentor.client import Client
from stentor.webhooks.webhook import EVENTS, STATES

_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")


def _client() -> Client:
    return Client(*find_api())


@click.group()
def webhooks() -> None:
    """List webhook endpoints; add, ping, delete and replay; listen as a receiver."""


@webhooks.command("list")
@_json
def list_webhooks(json_wanted: bool) -> None:
    """List your endpoints, and the implicit ones that a `webhook_url` made."""
    with _client() as client:
        found = client.webhooks()
    if json_wanted:
        output.as_json({"webhooks": found})
        return
    columns = ("id", "url", "events", "disabled", "implicit", "description")
    output.table(columns, [[one[column] for column in columns] for one in found])


@webhooks.command()
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, type=click.Choice(EVENTS), help="Tell this only; may be given several times."
)
@click.option("--description", default="", help="What it is for.")
@_json
def add(url: str, events: tuple[str, ...], description: str, json_wanted: bool) -> None:
    """Add an endpoint and show its secret, this once."""
    fields: dict[str, Any] = {"description": description, **({"events": list(events)} if events else {})}
    with _client() as client:
        made = client.add_webhook(url, **fields)
    if json_wanted:
        output.as_json(made)
    else:
        click.echo(f"{made['id']}\t{made['secret']}")
        click.echo("Keep the secret: it is not shown again.", err=True)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
def delete(webhook_id: str) -> None:
    """Delete an endpoint, and what was to be sent to it."""
    with _client() as client:
        client.delete_webhook(webhook_id)
    click.echo(f"deleted {webhook_id}")


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
def ping(webhook_id: str) -> None:
    """Send an endpoint the event webhook.ping."""
    with _client() as client:
        click.echo(client.ping_webhook(webhook_id))


@webhooks.command()
def secret() -> None:
    """Show the secret that signs webhooks to the `webhook_url` of jobs and bulks."""
    with _client() as client:
        click.echo(client.webhook_secret())


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), help="At most so many.  [default: 50]")
@_json
def deliveries(webhook_id: str, state: str | None, limit: int | None, json_wanted: bool) -> None:
    """List an endpoint's deliveries, newest first."""
    with _client() as client:
        page = client.deliveries(webhook_id, state=state, limit=limit)
    if json_wanted:
        output.as_json(page)
        return
    columns = ("id", "type", "state", "created", "attempts", "status", "error", "next attempt")
    output.table(columns, [_row(one) for one in page["deliveries"]])


def _row(delivery: dict[str, Any]) -> list[object]:
    last = delivery["attempts"][-1] if delivery["attempts"] else {"status": None, "error": None}
    return [
        delivery["id"],
        delivery["type"],
        delivery["state"],
        delivery["created_at"],
        len(delivery["attempts"]),
        last["status"],
        last["error"],
        delivery["due_at"],
    ]


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--delivery", "delivery_id", help="Only this one.")
@click.option("--since", metavar="TIME", help="All made since then, as 2026-11-25T08:00:00Z.")
@click.option("--state", type=click.Choice(STATES[1:]), help="With --since: only those in this state.")
def replay(webhook_id: str, delivery_id: str | None, since: str | None, state: str | None) -> None:
    """Send deliveries once more, with the ids that they had."""
    if (delivery_id is None) == (since is None):
        raise click.UsageError("name one with --delivery, or say --since; one of them")
    with _client() as client:
        if delivery_id is not None:
            client.replay(webhook_id, delivery_id)
            count = 1
        else:
            count = client.replay_since(webhook_id, since or "", state=state)
    click.echo(f"{count} will be sent once more")


@webhooks.command()
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Where to listen; 0 takes a free port.")
@click.option("--secret", "signing_secret", help="Verify with this secret, whsec_...")
@click.option("--status", default=204, show_default=True, type=click.IntRange(200, 599), help="What to answer.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
def listen(port: int, signing_secret: str | None, status: int, count: int | None) -> None:
    """Receive webhooks on this machine, verify each, and print a line about it, until Ctrl-C.

    The first line is the address to send them to. It has to be allowed: STENTOR_WEBHOOK_ALLOW=127.0.0.0/8.
    """
    from stentor.cli.listening import listen as listening  # noqa: PLC0415 - a server that only this command needs

    listening(port, signing_secret, status=status, count=count)
