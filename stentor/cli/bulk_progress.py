"""Uploads, follows, downloads and prints a bulk, with progress bars on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stentor.bulks.bulk import ENDED
from stentor.cli import output
from stentor.cli.bulk_download import Download, download
from stentor.client import Client, Problem

#: How long one request waits for the end of the bulk, in seconds. Short, so that the progress bar moves.
POLL_WAIT_S = 1.0
#: Minimum time between two requests, in seconds: a service that allows no wait answers at once.
MIN_POLL_S = 0.2


def upload(client: Client, file: Path, fields: Mapping[str, Any], *, show: bool) -> dict[str, Any]:
    """Submit the file and return its bulk.

    Raises:
        Problem: the file is refused; its errors were printed.
    """
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _bar(columns, file.stat().st_size, show=show) as moved:
        try:
            return client.submit_bulk(file, fields, sent=moved)
        except Problem as problem:
            _print_errors(problem.errors)
            raise


def wait_for_end(client: Client, found: dict[str, Any], *, show: bool) -> dict[str, Any]:
    """Wait until the bulk has ended, and return it.

    Raises:
        Problem: its file is refused; its errors were printed.
    """
    while found["state"] == "checking":
        found = _poll(client, found["id"])
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(columns, found["counts"]["rows"], show=show) as moved:
        while found["state"] not in ENDED:
            found = _poll(client, found["id"])
            moved(sum(found["counts"][state] for state in ("succeeded", "failed", "canceled")))
    if found["state"] == "failed":
        _print_errors(found["errors"])
        error = found["error"] or {"code": "bulk_invalid", "detail": "The file was refused."}
        raise Problem(code=error["code"], status=422, detail=error["detail"], errors=found["errors"])
    return found


def _poll(client: Client, bulk_id: str) -> dict[str, Any]:
    began_s = time.monotonic()
    found = client.bulk(bulk_id, wait_s=POLL_WAIT_S)
    if found["state"] not in ENDED:
        time.sleep(max(0.0, MIN_POLL_S - (time.monotonic() - began_s)))
    return found


def fetch_audio(client: Client, found: Mapping[str, Any], folder: Path, *, show: bool) -> Download:
    """Download the audio and the manifest of a bulk into a folder."""
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(columns, found["counts"]["rows"], show=show) as moved:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            moved(done)

        return download(client, found["id"], folder, count)


@contextmanager
def _bar(columns: Sequence[Any], total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """A function that updates a progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as progress:
        task = progress.add_task("", total=total)
        yield lambda completed: progress.update(task, completed=completed)


def _print_errors(errors: Sequence[Mapping[str, Any]]) -> None:
    """Print the errors of a file, one row each."""
    rows = [error for error in errors if "row" in error]
    if rows:
        columns = ("row", "column", "code", "detail")
        output.print_table(columns, [[error[column] for column in columns] for error in rows], title="Errors")


def print_bulk(found: Mapping[str, Any], fetched: Download | None = None, folder: Path | None = None) -> None:
    """Print a bulk, its errors, and what was downloaded."""
    for failure in fetched.failures if fetched else ():
        click.echo(f"row {failure['row']}, {failure['id']}: {failure['detail']} ({failure['code']})", err=True)
    _print_errors(found["errors"])
    counts, report = found["counts"], found["report"] or {}
    pairs: list[tuple[str, object]] = [
        ("id", found["id"]),
        ("name", found["name"]),
        ("state", found["state"]),
        ("waits for", found["waits_for"]),
        *((name, counts[name]) for name in counts),
        ("bad rows", report.get("bad_rows")),
        ("encoding", report.get("encoding")),
        ("characters", report.get("chars")),
        ("estimated audio", _seconds(found["estimated_audio_s"])),
        ("audio", _seconds(found["audio_s"] or None)),
        ("rows per s", found["rows_per_s"]),
        ("estimated finish", found["estimated_finish_at"]),
        ("archive", found["archive"]["state"]),
        ("groups", found["groups"]),
        ("files", folder),
        ("fetched", fetched and fetched.fetched),
        ("already there", fetched and fetched.kept),
    ]
    output.print_facts([(name, value) for name, value in pairs if value is not None], title="Bulk")


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"
