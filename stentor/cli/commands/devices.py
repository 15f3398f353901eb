"""The command ``devices``: what there is to speak on, and what a person wants of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from stentor.cli import output
from stentor.cli.finding import find_api
from stentor.client import Client

#: Seconds in the units of a span of time.
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
COLUMNS = ("id", "state", "model", "clocks", "override", "loaded", "spoke", "gpu", "reason")


class Span(click.ParamType[float]):
    """A span of time, as ``30s``, ``10m``, ``2h`` or ``1d``: seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The span in seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", str(value))
        if not found or float(found[1]) == 0:
            self.fail(f"{value!r} is no span of time; wanted is one like 30s, 10m, 2h or 1d", param, ctx)
        return float(found[1]) * UNITS_S[found[2]]


_for = click.option(
    "--for", "for_s", type=Span(), metavar="SPAN", help="For so long, as 30s, 10m, 2h or 1d; else until `auto`."
)


def _client() -> Client:
    return Client(*find_api())


@click.group(invoke_without_command=True)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
@click.pass_context
def devices(ctx: click.Context, json_wanted: bool) -> None:
    """List the devices; load and unload their models, and set their clocks."""
    if ctx.invoked_subcommand is not None:
        return
    with _client() as client:
        found = client.devices()
    if json_wanted:
        output.as_json({"devices": found})
    else:
        now = datetime.now(UTC)
        output.table(COLUMNS, [_row(device, now) for device in found])


def _row(device: dict[str, Any], now: datetime) -> list[object]:
    told = {
        **device,
        "override": _override(device.get("override"), now),
        "loaded": _ago(device.get("loaded_at"), now),
        "spoke": _ago(device.get("spoke_at"), now),
        "reason": device.get("error") or device.get("reason"),
    }
    return [told.get(column) for column in COLUMNS]


def _override(override: dict[str, Any] | None, now: datetime) -> str | None:
    """What a person wants, as ``unloaded, clocks low, 110 m left``."""
    if override is None:
        return None
    words = [override["residency"]] if override["residency"] != "auto" else []
    words += [f"clocks {override['clocks']}"] if override["clocks"] != "auto" else []
    if override["expires_at"]:
        left_s = (datetime.fromisoformat(override["expires_at"]) - now).total_seconds()
        words.append(f"{_span(left_s)} left")
    return ", ".join(words)


def _ago(moment: str | None, now: datetime) -> str | None:
    return f"{_span((now - datetime.fromisoformat(moment)).total_seconds())} ago" if moment else None


def _span(seconds: float) -> str:
    """A span of time in its largest unit that it has two of."""
    unit = next((unit for unit in "dhm" if seconds >= 2 * UNITS_S[unit]), "s")
    return f"{max(0, int(seconds / UNITS_S[unit]))} {unit}"


@devices.command()
@click.argument("device_id", metavar="ID")
@_for
def load(device_id: str, for_s: float | None) -> None:
    """Have a device load its model, and keep it in windows too."""
    with _client() as client:
        client.load(device_id, for_s=for_s)
    click.echo(f"{device_id} was asked to load its model")


@devices.command()
@click.argument("device_id", metavar="ID")
@_for
def unload(device_id: str, for_s: float | None) -> None:
    """Have a device unload its model, and again whenever nothing waits for it."""
    with _client() as client:
        client.unload(device_id, for_s=for_s)
    click.echo(f"{device_id} was asked to unload its model")


@devices.command()
@click.argument("device_id", metavar="ID")
@click.argument("clocks", type=click.Choice(["low", "normal", "auto"]), metavar="low|normal|auto")
@_for
def clocks(device_id: str, clocks: str, for_s: float | None) -> None:
    """Have the clocks of a device low or normal, whatever it does, or leave them to the policy."""
    with _client() as client:
        client.set_clocks(device_id, clocks, for_s=for_s)
    click.echo(f"{device_id} was asked for clocks {clocks}")


@devices.command()
@click.argument("device_id", metavar="ID")
def auto(device_id: str) -> None:
    """Leave a device to the policy again: its model and its clocks."""
    with _client() as client:
        client.leave_to_policy(device_id)
    click.echo(f"{device_id} is left to the policy")
