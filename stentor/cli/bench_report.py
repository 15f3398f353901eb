"""Shows the progress of a bench, and prints and writes its results."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stentor.bench import plots
from stentor.bench.observed import BenchRecording
from stentor.bench.scenarios import Request
from stentor.bench.summary import Latency, LatencyGroup, Summary, batches, stretches
from stentor.cli import output

#: How often progress is printed if standard error is not a terminal, in seconds.
PRINT_EVERY_S = 10.0


@contextlib.contextmanager
def show_progress(name: str, requests: Sequence[Request]) -> Iterator[Callable[[int], None]]:
    """A function that shows on standard error how many texts are done: a bar, or lines if it is not a terminal."""
    total = sum(request.texts for request in requests)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        shown, printed_s = 0, time.monotonic()

        def show(done: int) -> None:
            nonlocal shown, printed_s
            if done <= shown:
                return
            shown = done
            progress.update(task, completed=done)
            if progress.disable and (time.monotonic() - printed_s >= PRINT_EVERY_S or done == total):
                printed_s = time.monotonic()
                click.echo(f"{name}: {done} of {total} texts", err=True)

        yield show


def write_results(folder: Path, name: str, result: dict[str, Any], recording: BenchRecording) -> None:
    """Write the results and the data behind them as JSON, and the plots."""
    series = {
        "batches": [dataclasses.asdict(batch) for batch in batches(recording.texts)],
        "busy": [{**dataclasses.asdict(stretch), "share": stretch.share} for stretch in stretches(recording.beats)],
        "texts": [dataclasses.asdict(text) for text in recording.texts],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**result, **series}) + "\n", encoding="utf-8")
    click.echo(f"written: {path}", err=True)
    try:
        paths = plots.draw(recording, folder, name)
    except ImportError as exc:
        click.echo(f"no plots: {exc}. Run: pip install 'stentor[bench]'", err=True)
    else:
        click.echo(f"written: {', '.join(map(str, paths))}", err=True)


def print_summary(name: str, summary: Summary) -> None:
    """Print the results of a bench."""
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
            f"{summary.batches}, of {summary.batch_size_mean:.1f} on average, {summary.batch_size_max} maximum",
        ),
        ("padding", f"{summary.padding_mean:.1%}"),
        (f"{summary.devices} device{'s' * (summary.devices != 1)} busy", busy),
        ("maximum delay of a request", f"{math.ceil(summary.late_s * 1000)} ms"),
    ]
    output.print_facts(pairs, title=f"Bench: {name}")
    rows = [
        [group.priority, label, latency.count, *(f"{value:.3f}" for value in dataclasses.astuple(latency)[1:])]
        for group in summary.groups
        for label, latency in _latencies(group)
        if latency is not None
    ]
    output.print_table(("priority", "in seconds", "texts", "mean", "P50", "P90", "P99", "max"), rows)


def _latencies(group: LatencyGroup) -> tuple[tuple[str, Latency | None], ...]:
    return (
        ("POST to claimed", group.to_claimed),
        ("POST to stored", group.to_stored),
        ("POST to outcome at the client", group.to_seen),
    )
