"""``stentor bench``: sizes a machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stentor.bench import plots, scenarios
from stentor.bench.observed import Recording
from stentor.bench.own import own_stack
from stentor.bench.recording import Recorder, warm_up
from stentor.bench.scenarios import Request
from stentor.bench.summary import Group, Latency, Summary, batches, stretches, summarise
from stentor.cli import exit_codes, output
from stentor.cli.finding import find_api
from stentor.client import Client

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: In a log, progress is told so often, in seconds.
TELL_EVERY_S = 10.0


def _common(command: _Command) -> _Command:
    """The options that every scenario has."""
    for option in (
        click.option("--json", "json_wanted", is_flag=True, help="Print the figures as JSON."),
        click.option("--format", "format", help="Format of the audio.  [default: wav]"),
        click.option("--voice", help="Name of a voice; `stentor voices` lists them."),
        click.option(
            "--devices", default="cpu", show_default=True, help="With --own: its devices, as of `stentor up`."
        ),
        click.option("--own", is_flag=True, help="Start a stack in a temporary directory, measure it, and stop it."),
        click.option(
            "-o",
            "--output",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("bench-output"),
            show_default=True,
            help="Folder for the figures and plots.",
        ),
        click.option(
            "--seed", type=click.IntRange(0, 2**32 - 1), help="Texts and seeds begin here.  [default: drawn anew]"
        ),
        click.option(
            "--chars", type=click.IntRange(1), default=28, show_default=True, help="Characters of a text, about."
        ),
    ):
        command = option(command)
    return command


def _rated(seconds: float, rate: float) -> Callable[[_Command], _Command]:
    """The options of texts that come at a rate."""

    def add(command: _Command) -> _Command:
        for option in (
            click.option(
                "--random", "at_random", is_flag=True, help="Come at random moments of that rate, not evenly."
            ),
            click.option(
                "--seconds",
                type=click.FloatRange(0, min_open=True),
                default=seconds,
                show_default=True,
                help="How long.",
            ),
            click.option(
                "--rate",
                type=click.FloatRange(0, min_open=True),
                default=rate,
                show_default=True,
                help="Texts per second.",
            ),
        ):
            command = option(command)
        return command

    return add


@click.group()
def bench() -> None:
    """Measure how much is spoken, and how soon: by the stack that runs, or with --own by one of the bench's own."""


@bench.command()
@_rated(60, 3)
@_common
def steady(rate: float, seconds: float, at_random: bool, **common: Any) -> None:
    """Texts at a steady rate, whether the answers keep up or not."""
    _bench("steady", lambda gaps: scenarios.steady(rate, seconds, gaps=gaps if at_random else None), **common)


@bench.command()
@click.argument("texts", type=click.IntRange(1), metavar="N")
@_common
def backlog(texts: int, **common: Any) -> None:
    """N texts at once: how fast they are worked off."""
    _bench("backlog", lambda _: scenarios.backlog(texts), **common)


@bench.command()
@click.option("--texts", type=click.IntRange(1), default=50, show_default=True, help="Texts of one burst.")
@click.option("--times", type=click.IntRange(1), default=5, show_default=True, help="Bursts.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds between two."
)
@_common
def burst(texts: int, times: int, every_s: float, **common: Any) -> None:
    """Many texts at one moment, and again."""
    _bench("burst", lambda _: scenarios.burst(texts, times=times, every_s=every_s), **common)


@bench.command()
@_rated(60, 1)
@click.option("--texts", type=click.IntRange(1), default=2000, show_default=True, help="Bulk texts that wait.")
@_common
def mixed(texts: int, rate: float, seconds: float, at_random: bool, **common: Any) -> None:
    """Interactive texts at a rate, beside bulk texts that wait."""
    _bench(
        "mixed", lambda gaps: scenarios.mixed(rate, seconds, texts=texts, gaps=gaps if at_random else None), **common
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
    """Run one scenario, print and write its figures; exits with 1 if a text has no audio."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    requests = plan(random.Random(seed))
    given = {parameter: value for parameter, value in parameters.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    with _client(own, devices) as client, _progress(name, requests) as told:
        warm_up(client, given)
        recording = Recorder(client, chars=chars, seed=seed, parameters=given, told=told).run(requests)
    summary = summarise(recording)
    what = {"scenario": name, "chars": chars, "seed": seed, "own": own, **given}
    _write(folder, name, {**what, **_context(), "summary": dataclasses.asdict(summary)}, recording)
    if json_wanted:
        output.as_json({**what, **dataclasses.asdict(summary)})
    else:
        _show(name, summary)
    if summary.failed:
        raise click.exceptions.Exit(exit_codes.FAILED)


@contextlib.contextmanager
def _client(own: bool, devices: str) -> Iterator[Client]:
    if not own:
        with Client(*find_api()) as client:
            yield client
        return
    click.echo("starting a stack", err=True)
    with own_stack(os.environ, devices=devices) as run, Client(run.api_url, run.api_key) as client:
        yield client


@contextlib.contextmanager
def _progress(name: str, requests: Sequence[Request]) -> Iterator[Callable[[int], None]]:
    """Shows on standard error how many texts are done: a bar, or in a log a line now and then."""
    total = sum(request.texts for request in requests)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        told, told_s = 0, time.monotonic()

        def tell(done: int) -> None:
            nonlocal told, told_s
            if done <= told:
                return
            told = done
            progress.update(task, completed=done)
            if progress.disable and (time.monotonic() - told_s >= TELL_EVERY_S or done == total):
                told_s = time.monotonic()
                click.echo(f"{name}: {done} of {total} texts", err=True)

        yield tell


def _context() -> dict[str, Any]:
    return {
        "stentor": version("stentor"),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
    }


def _write(folder: Path, name: str, result: dict[str, Any], recording: Recording) -> None:
    """The figures and what they are made of as JSON, and the plots."""
    series = {
        "batches": [dataclasses.asdict(batch) for batch in batches(recording.texts)],
        "busy": [{**dataclasses.asdict(stretch), "share": stretch.share} for stretch in stretches(recording.beats)],
        "texts": [dataclasses.asdict(text) for text in recording.texts],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**result, **series}) + "\n", encoding="utf-8")
    click.echo(f"written: {path}", err=True)
    try:
        drawn = plots.draw(recording, folder, name)
    except ImportError as exc:
        click.echo(f"no plots: {exc}; install the extra: pip install 'stentor[bench]'", err=True)
    else:
        click.echo(f"written: {', '.join(map(str, drawn))}", err=True)


def _show(name: str, summary: Summary) -> None:
    busy = "not reported" if summary.busy_share is None else f"{summary.busy_share:.1%} of the time"
    pairs = [
        ("texts", summary.texts),
        ("failed", summary.failed),
        *((f"  {code}", count) for code, count in summary.errors.items()),
        ("audio", f"{summary.audio_s:.1f} s"),
        ("wall time", f"{summary.wall_s:.1f} s"),
        ("speed", f"{summary.audio_s_per_s:.2f} s of audio per s, {summary.texts_per_s:.2f} texts per s"),
        (
            "batches",
            f"{summary.batches}, of {summary.batch_size_mean:.1f} on average, {summary.batch_size_max} at most",
        ),
        ("padding", f"{summary.padding_mean:.1%}"),
        (f"{summary.devices} device{'s' * (summary.devices != 1)} busy", busy),
        ("requests sent late by", f"{math.ceil(summary.late_s * 1000)} ms at most"),
    ]
    output.facts(pairs, title=f"Bench: {name}")
    rows = [
        [group.priority, label, latency.count, *(f"{value:.3f}" for value in dataclasses.astuple(latency)[1:])]
        for group in summary.groups
        for label, latency in _latencies(group)
        if latency is not None
    ]
    output.table(("priority", "in seconds", "texts", "mean", "P50", "P90", "P99", "max"), rows)


def _latencies(group: Group) -> tuple[tuple[str, Latency | None], ...]:
    return (
        ("POST to claimed", group.to_claimed),
        ("POST to stored", group.to_stored),
        ("POST to outcome at the client", group.to_seen),
    )
