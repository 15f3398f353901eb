"""``stentor cost``: the cost of speech, and the savings."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from stentor.cli import day_picture, exit_codes, output
from stentor.cli.finding import open_client
from stentor.cli.time_types import PastDay
from stentor.owners.usage import today

#: Savings: the name in the API -> the name for people.
TRICKS = {"clocks": "lower clocks", "unloading": "unloading", "merging": "merging", "total": "all three"}


@click.command()
@click.option(
    "--since", type=PastDay(), default="7d", show_default=True, help="First day: days ago such as 7d, or a date (UTC)."
)
@click.option("--until", type=PastDay(), help="Last day: days ago such as 7d, or a date (UTC).  [default: today]")
@click.option("--price-kwh", type=click.FloatRange(0), help="Price of one kWh.  [default: STENTOR_PRICE_KWH]")
@click.option(
    "--price-gpu-hour",
    type=click.FloatRange(0),
    help="Price of one GPU hour, in the same currency.  [default: STENTOR_PRICE_GPU_HOUR]",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print the answer of the API as JSON.")
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a day into this PNG file instead of printing tables.",
)
@click.option("--day", type=PastDay(), help="With --png: the day to draw.  [default: today]")
def cost(
    since: date,
    until: date | None,
    price_kwh: float | None,
    price_gpu_hour: float | None,
    json_wanted: bool,
    png: Path | None,
    day: date | None,
) -> None:
    """Show the cost of speech in time, energy and money, and the savings. Needs a key with the scope admin."""
    if day is not None and png is None:
        raise click.UsageError("--day needs --png FILE: it selects the day to draw.")
    if png is not None:
        since = until = day or today()
    with open_client() as client:
        found = client.cost(
            since=since,
            until=until,
            price_kwh=price_kwh,
            price_gpu_hour=price_gpu_hour,
            slots="true" if png is not None else None,
        )
    if json_wanted:
        output.print_json(found)
    if png is not None:
        _draw(found, png)
    elif not json_wanted:
        _show(found)


def _draw(found: dict[str, Any], png: Path) -> None:
    if not found["slots"]:
        click.echo(f"error: No data for {found['until']}. Ten-minute data is kept for 35 days.", err=True)
        raise click.exceptions.Exit(exit_codes.NOT_FOUND)
    try:
        day_picture.draw(found["slots"], day=date.fromisoformat(found["until"]), path=png)
    except ImportError as exc:
        click.echo(f"error: {exc}. Run: pip install 'stentor[bench]'", err=True)
        raise click.exceptions.Exit(exit_codes.FAILED) from exc
    click.echo(f"written: {png}", err=True)


def _show(found: dict[str, Any]) -> None:
    total = found["total"]
    output.print_facts(_facts(total), title=f"Cost: {found['since']} to {found['until']} (UTC)")
    saved = total["savings"]
    output.print_table(
        ("saved by", "kWh", "money", "device hours", "device money"),
        [(label, *_saving_row(saved[trick])) for trick, label in TRICKS.items()],
    )
    output.print_table(
        ("device", "busy h", "idle h", "low clocks h", "unloaded h", "other h", "kWh", "audio h", "money", "saved kWh"),
        [_device_row(device) for device in found["devices"]],
    )
    output.print_table(
        ("owner", "key", "name", "characters", "audio h", "device s", "share", "money"),
        [_key_row(key) for key in found["keys"]],
    )
    for name, reason in _reasons(found):
        click.echo(f"{name}: {reason}", err=True)


def _facts(total: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("device hours", _hours(total["device_s"])),
        ("GPU hours", _hours(total["gpu_s"])),
        ("energy", _number(total["kwh"], " kWh")),
        ("audio", f"{total['audio_hours']:.2f} h"),
        ("characters", str(total["characters"])),
        ("energy per hour of audio", _number(total["j_per_audio_hour"], " J")),
        ("energy per million characters", _number(total["j_per_million_characters"], " J")),
        ("money for energy", _number(total["energy_money"])),
        ("money for devices", _number(total["device_money"])),
        ("money", _number(total["money"])),
        ("always on, one by one", _number(total["always_on"]["kwh"], " kWh")),
    ]


def _saving_row(saved: dict[str, Any]) -> tuple[str, ...]:
    energy = (_number(saved["kwh"]), _number(saved["energy_money"]))
    if "device_s" not in saved:
        return *energy, "", ""
    device_s = saved["device_s"]
    return *energy, _number(None if device_s is None else device_s / 3600), _number(saved["device_money"])


def _device_row(device: dict[str, Any]) -> tuple[str, ...]:
    spent = device["seconds"]
    return (
        device["id"],
        _hours(spent["busy"]),
        _hours(spent["idle"]),
        _hours(spent["idle_low"]),
        _hours(spent["unloaded"] + spent["unloaded_low"]),
        _hours(spent["starting"] + spent["unknown"]),
        _number(device["kwh"]),
        f"{device['audio_hours']:.2f}",
        _number(device["money"]),
        _number(device["savings"]["total"]["kwh"]),
    )


def _key_row(key: dict[str, Any]) -> tuple[str, ...]:
    share = "?" if key["share"] is None else f"{key['share']:.1%}"
    return (
        key["owner"],
        key["key_id"],
        key["key_name"] or "(revoked)",
        str(key["characters"]),
        _hours(key["audio_s"]),
        f"{key['device_s']:.1f}",
        share,
        _number(key["money"]),
    )


def _reasons(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Why values are unknown, each reason once."""
    named = list(found["total"]["reasons"].items())
    saved = found["total"]["savings"]
    return named + [(TRICKS[trick], saved[trick]["reason"]) for trick in TRICKS if saved[trick].get("reason")]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _number(value: float | None, unit: str = "") -> str:
    """The number with four significant digits; `?` if it is unknown."""
    if value is None:
        return "?"
    return f"{value:,.0f}{unit}" if abs(value) >= 1000 else f"{value:.4g}{unit}"
