"""``stentor webhooks``: manages endpoints and deliveries, and receives webhooks for a test."""

from __future__ import annotations

from typing import Any

import click

from stentor.cli import output
from stentor.cli.finding import open_client
from stentor.webhooks.webhook import EVENTS, STATES


@click.group()
def webhooks() -> None:
    """List webhook endpoints; add, ping or delete one; replay deliveries; receive locally."""


@webhooks.command("list")
@output.json_option
def list_webhooks(json_wanted: bool) -> None:
    """List your endpoints, including those created by a `webhook_url`."""
    with open_client() as client:
        found = client.webhooks()
    if json_wanted:
        output.print_json({"webhooks": found})
        return
    columns = ("id", "url", "events", "disabled", "implicit", "description")
    output.print_table(columns, [[one[column] for column in columns] for one in found])


@webhooks.command()
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS),
    help="Send only this event. Can be given several times.  [default: all events]",
)
@click.option("--description", default="", help="Description of the endpoint.")
@output.json_option
def add(url: str, events: tuple[str, ...], description: str, json_wanted: bool) -> None:
    """Add an endpoint and print its secret. It is not shown again."""
    fields: dict[str, Any] = {"description": description, **({"events": list(events)} if events else {})}
    with open_client() as client:
        made = client.add_webhook(url, **fields)
    if json_wanted:
        output.print_json(made)
    else:
        click.echo(f"{made['id']}\t{made['secret']}")
        click.echo("Save the secret: it is not shown again.", err=True)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
def delete(webhook_id: str) -> None:
    """Delete an endpoint and its waiting deliveries."""
    with open_client() as client:
        client.delete_webhook(webhook_id)
    click.echo(f"deleted {webhook_id}")


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
def ping(webhook_id: str) -> None:
    """Send the event webhook.ping to an endpoint."""
    with open_client() as client:
        click.echo(client.ping_webhook(webhook_id))


@webhooks.command()
def secret() -> None:
    """Show the secret that signs webhooks to the `webhook_url` of jobs and bulks."""
    with open_client() as client:
        click.echo(client.webhook_secret())


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--state", type=click.Choice(STATES), help="Only deliveries in this state.")
@click.option("--limit", type=click.IntRange(1, 500), help="Maximum number of deliveries.  [default: 50]")
@output.json_option
def deliveries(webhook_id: str, state: str | None, limit: int | None, json_wanted: bool) -> None:
    """List an endpoint's deliveries, newest first."""
    with open_client() as client:
        page = client.deliveries(webhook_id, state=state, limit=limit)
    if json_wanted:
        output.print_json(page)
        return
    columns = ("id", "type", "state", "created", "attempts", "status", "error", "next attempt")
    output.print_table(columns, [_row(one) for one in page["deliveries"]])


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
@click.option("--delivery", "delivery_id", help="Replay only this delivery.")
@click.option(
    "--since", metavar="TIME", help="Replay all deliveries created since this time, such as 2026-11-25T08:00:00Z."
)
@click.option("--state", type=click.Choice(STATES[1:]), help="With --since: only deliveries in this state.")
def replay(webhook_id: str, delivery_id: str | None, since: str | None, state: str | None) -> None:
    """Send deliveries again, with their original ids."""
    if (delivery_id is None) == (since is None):
        raise click.UsageError("Give either --delivery ID or --since TIME.")
    with open_client() as client:
        if delivery_id is not None:
            client.replay(webhook_id, delivery_id)
            count = 1
        else:
            count = client.replay_since(webhook_id, since or "", state=state)
    click.echo(f"{count} will be sent again")


@webhooks.command()
@click.option(
    "--port", default=0, type=click.IntRange(0, 65_535), help="Port to listen on; 0 selects a free port.  [default: 0]"
)
@click.option("--secret", "signing_secret", help="Secret to verify signatures with: whsec_...")
@click.option(
    "--status", default=204, show_default=True, type=click.IntRange(200, 599), help="HTTP status of the answers."
)
@click.option("--count", type=click.IntRange(1), help="Number of webhooks to receive.  [default: no limit]")
def listen(port: int, signing_secret: str | None, status: int, count: int | None) -> None:
    """Receive webhooks on this machine until Ctrl-C; verify each and print a line about it.

    The first line is the URL to send them to. Stentor must allow it: STENTOR_WEBHOOK_ALLOW=127.0.0.0/8.
    """
    from stentor.cli.listening import listen as listening  # noqa: PLC0415 - a server that only this command needs

    listening(port, signing_secret, status=status, count=count)
