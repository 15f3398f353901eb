"""``stentor bench``: measures the throughput and latency of a machine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click

from stentor.bench import scenarios
from stentor.bench.own import own_stack
from stentor.bench.recording import Recorder, warm_up
from stentor.bench.scenarios import Request
from stentor.bench.summary import summarise
from stentor.cli import exit_codes, output
from stentor.cli.bench_report import print_summary, show_progress, write_results
from stentor.cli.finding import open_client
from stentor.client import Client
from stentor.client.transport import without_none

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _common(command: _Command) -> _Command:
    """Add the options of all scenarios."""
    for option in (
        click.option("--json", "json_wanted", is_flag=True, help="Print the results as JSON."),
        click.option("--format", "format", help="Format of the audio.  [default: wav]"),
        click.option("--voice", help="Name of a voice; `stentor voices` lists them."),
        click.option(
            "--devices", default="cpu", show_default=True, help="With --own: devices of the stack, as for `stentor up`."
        ),
        click.option("--own", is_flag=True, help="Start a stack in a temporary directory, measure it, and stop it."),
        click.option(
            "-o",
            "--output",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("bench-output"),
            show_default=True,
            help="Folder for results and plots.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            help="Seed of the texts and their speech; use a new one per run, or the cache answers.  [default: random]",
        ),
        click.option(
            "--chars",
            type=click.IntRange(1),
            default=28,
            show_default=True,
            help="Approximate number of characters per text.",
        ),
    ):
        command = option(command)
    return command


def _rate_options(seconds: float, rate: float) -> Callable[[_Command], _Command]:
    """Add the options of texts that are sent at a rate."""

    def add(command: _Command) -> _Command:
        for option in (
            click.option(
                "--random", "at_random", is_flag=True, help="Send at random times with this mean rate, not evenly."
            ),
            click.option(
                "--seconds",
                type=click.FloatRange(0, min_open=True),
                default=seconds,
                show_default=True,
                help="Duration of the scenario in seconds.",
            ),
            click.option(
                "--rate",
                type=click.FloatRange(0, min_open=True),
                default=rate,
                show_default=True,
                help="Number of texts per second.",
            ),
        ):
            command = option(command)
        return command

    return add


@click.group()
def bench() -> None:
    """Measure throughput and latency of the running stack, or with --own of a temporary one."""


@bench.command()
@_rate_options(60, 3)
@_common
def steady(rate: float, seconds: float, at_random: bool, **common: Any) -> None:
    """Send texts at a steady rate, independent of the answers."""
    _bench("steady", lambda gaps: scenarios.steady(rate, seconds, gaps=gaps if at_random else None), **common)


@bench.command()
@click.argument("texts", type=click.IntRange(1), metavar="N")
@_common
def backlog(texts: int, **common: Any) -> None:
    """Send N texts at once, and measure how fast they are spoken."""
    _bench("backlog", lambda _: scenarios.backlog(texts), **common)


@bench.command()
@click.option("--texts", type=click.IntRange(1), default=50, show_default=True, help="Number of texts per burst.")
@click.option("--times", type=click.IntRange(1), default=5, show_default=True, help="Number of bursts.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds between two bursts."
)
@_common
def burst(texts: int, times: int, every_s: float, **common: Any) -> None:
    """Send many texts at one moment, several times."""
    _bench("burst", lambda _: scenarios.burst(texts, times=times, every_s=every_s), **common)


@bench.command("mixed")
@_rate_options(60, 1)
@click.option(
    "--texts", type=click.IntRange(1), default=2000, show_default=True, help="Number of bulk texts in the backlog."
)
@_common
def mix(texts: int, rate: float, seconds: float, at_random: bool, **common: Any) -> None:
    """Send interactive texts at a rate while a backlog of bulk texts waits."""
    _bench(
        "mixed",
        lambda gaps: scenarios.interactive_over_bulk(rate, seconds, texts=texts, gaps=gaps if at_random else None),
        **common,
    )


def _bench(
    name: str,
    plan: Callable[[random.Random], Sequence[Request]],
    *,
    chars: int,
    seed: int | None,
    folder: Path,
    own: bool,
    devices: str,
    json_wanted: bool,
    **parameters: str | None,
) -> None:
    """Run one scenario, print and write its results. Exits with 1 if a text has no audio."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    requests = plan(random.Random(seed))
    given = without_none(parameters)
    folder.mkdir(parents=True, exist_ok=True)
    with _measured_client(own, devices) as client, show_progress(name, requests) as show:
        warm_up(client, given)
        recording = Recorder(client, chars=chars, seed=seed, parameters=given, on_done=show).run(requests)
    summary = summarise(recording)
    what = {"scenario": name, "chars": chars, "seed": seed, "own": own, **given}
    write_results(folder, name, {**what, **_context(), "summary": dataclasses.asdict(summary)}, recording)
    if json_wanted:
        output.print_json({**what, **dataclasses.asdict(summary)})
    else:
        print_summary(name, summary)
    if summary.failed:
        raise click.exceptions.Exit(exit_codes.FAILED)


@contextlib.contextmanager
def _measured_client(own: bool, devices: str) -> Iterator[Client]:
    if not own:
        with open_client() as client:
            yield client
        return
    click.echo("starting a stack", err=True)
    with own_stack(os.environ, devices=devices) as run, Client(run.api_url, run.api_key) as client:
        yield client


def _context() -> dict[str, Any]:
    return {
        "stentor": version("stentor"),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
    }
