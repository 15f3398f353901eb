"""``stentor devices``: lists devices, and gives orders about their models and clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from stentor.cli import output
from stentor.cli.finding import open_client
from stentor.cli.time_types import UNITS_S, DurationType

COLUMNS = ("id", "state", "model", "clocks", "override", "loaded", "spoke", "gpu", "reason")

_for = click.option(
    "--for",
    "for_s",
    type=DurationType(),
    metavar="SPAN",
    help="How long the order is valid: 30s, 10m, 2h or 1d.  [default: until `auto`]",
)


@click.group(invoke_without_command=True)
@output.json_option
@click.pass_context
def devices(ctx: click.Context, json_wanted: bool) -> None:
    """List devices; load or unload their models; set GPU clocks."""
    if ctx.invoked_subcommand is not None:
        return
    with open_client() as client:
        found = client.devices()
    if json_wanted:
        output.print_json({"devices": found})
    else:
        now = datetime.now(UTC)
        output.print_table(COLUMNS, [_row(device, now) for device in found])


def _row(device: dict[str, Any], now: datetime) -> list[object]:
    cells = {
        **device,
        "override": _override(device.get("override"), now),
        "loaded": _ago(device.get("loaded_at"), now),
        "spoke": _ago(device.get("spoke_at"), now),
        "reason": device.get("error") or device.get("reason"),
    }
    return [cells.get(column) for column in COLUMNS]


def _override(override: dict[str, Any] | None, now: datetime) -> str | None:
    """The order of a person, such as ``unloaded, clocks low, 110 m left``."""
    if override is None:
        return None
    words = [override["residency"]] if override["residency"] != "auto" else []
    words += [f"clocks {override['clocks']}"] if override["clocks"] != "auto" else []
    if override["expires_at"]:
        left_s = (datetime.fromisoformat(override["expires_at"]) - now).total_seconds()
        words.append(f"{_duration(left_s)} left")
    return ", ".join(words)


def _ago(moment: str | None, now: datetime) -> str | None:
    return f"{_duration((now - datetime.fromisoformat(moment)).total_seconds())} ago" if moment else None


def _duration(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two."""
    unit = next((unit for unit in "dhm" if seconds >= 2 * UNITS_S[unit]), "s")
    return f"{max(0, int(seconds / UNITS_S[unit]))} {unit}"


@devices.command()
@click.argument("device_id", metavar="ID")
@_for
def load(device_id: str, for_s: float | None) -> None:
    """Load the model of a device, and keep it loaded, also in unload windows."""
    with open_client() as client:
        client.load(device_id, for_s=for_s)
    click.echo(f"Ordered {device_id} to load its model.")


@devices.command()
@click.argument("device_id", metavar="ID")
@_for
def unload(device_id: str, for_s: float | None) -> None:
    """Unload the model of a device, now and again whenever no text waits for it."""
    with open_client() as client:
        client.unload(device_id, for_s=for_s)
    click.echo(f"Ordered {device_id} to unload its model.")


@devices.command()
@click.argument("device_id", metavar="ID")
@click.argument("clocks", type=click.Choice(["low", "normal", "auto"]), metavar="low|normal|auto")
@_for
def clocks(device_id: str, clocks: str, for_s: float | None) -> None:
    """Set the GPU clocks of a device to low or normal, or return them to the policy with auto."""
    with open_client() as client:
        client.set_clocks(device_id, clocks, for_s=for_s)
    click.echo(f"Ordered clocks {clocks} for {device_id}.")


@devices.command()
@click.argument("device_id", metavar="ID")
def auto(device_id: str) -> None:
    """Return a device to the policy: its model and its clocks."""
    with open_client() as client:
        client.leave_to_policy(device_id)
    click.echo(f"{device_id} follows the policy again.")
