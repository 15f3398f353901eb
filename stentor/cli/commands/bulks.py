"""``stentor bulk`` and ``stentor bulks``: files of texts, and what became of them."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stentor.bulks.bulk import ENDED, BulkState
from stentor.cli import exit_codes, output
from stentor.cli.bulk_download import Download, download
from stentor.cli.finding import find_api
from stentor.cli.speech_options import speech_options
from stentor.client import Client, Problem

#: How long one request waits for the end, so that the bar moves.
LOOK_EVERY_S = 1.0
#: A wait is answered at once when the service allows none; it is not asked more often than this.
LEAST_PAUSE_S = 0.2

_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
_id = click.argument("bulk_id", metavar="ID")
_to_file = click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="The file to write.  [default: standard output]",
)


def _client() -> Client:
    return Client(*find_api())


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--wait", is_flag=True, help="Wait until every row has its outcome.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Wait, and fetch all audio and the manifest into this folder; again fetches only what is missing.",
)
@click.option("--dry-run", is_flag=True, help="Check the file, and no more.")
@click.option("--on-error", type=click.Choice(("reject", "skip")), help="What a bad row does.  [default: reject]")
@click.option("--webhook", "webhook_url", metavar="URL", help="Told when the bulk has ended.")
@click.option("--name", help="What to call it.  [default: the file's name]")
@click.option("--archive", is_flag=True, help="Have the audio packed into an archive.")
@speech_options()
@_json
def bulk(file: Path, wait: bool, folder: Path | None, json_wanted: bool, **fields: Any) -> None:
    """Speak FILE: CSV, TSV or JSON Lines with a column `text`, gzip or not. Exits with 1 if rows failed, 2 if the file
    is refused."""
    given = {name: value for name, value in fields.items() if value is not None and value is not False}
    show = not json_wanted
    with _client() as client:
        found = _submitted(client, file, given, show=show)
        if wait or folder or fields["dry_run"]:
            found = _ended(client, found, show=show)
        fetched = _downloaded(client, found, folder, show=show) if folder and found["state"] != "failed" else None
    if json_wanted:
        output.as_json({**found, "download": dataclasses.asdict(fetched)} if fetched else found)
    else:
        _show(found, fetched, folder)
    if found["counts"]["failed"] or (fetched and fetched.failures):
        raise click.exceptions.Exit(exit_codes.FAILED)


def _submitted(client: Client, file: Path, fields: Mapping[str, Any], *, show: bool) -> dict[str, Any]:
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _bar(columns, file.stat().st_size, show=show) as moved:
        try:
            return client.submit_bulk(file, fields, sent=moved)
        except Problem as problem:
            _tell_errors(problem.errors)
            raise


def _ended(client: Client, found: dict[str, Any], *, show: bool) -> dict[str, Any]:
    """The bulk when it has ended.

    Raises:
        Problem: its file is refused.
    """
    while found["state"] == "checking":
        found = _look(client, found["id"])
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(columns, found["counts"]["rows"], show=show) as moved:
        while found["state"] not in ENDED:
            found = _look(client, found["id"])
            moved(sum(found["counts"][state] for state in ("succeeded", "failed", "canceled")))
    if found["state"] == "failed":
        _tell_errors(found["errors"])
        error = found["error"] or {"code": "bulk_invalid", "detail": "the file is refused"}
        raise Problem(code=error["code"], status=422, detail=error["detail"], errors=found["errors"])
    return found


def _look(client: Client, bulk_id: str) -> dict[str, Any]:
    began_s = time.monotonic()
    found = client.bulk(bulk_id, wait_s=LOOK_EVERY_S)
    if found["state"] not in ENDED:
        time.sleep(max(0.0, LEAST_PAUSE_S - (time.monotonic() - began_s)))
    return found


def _downloaded(client: Client, found: Mapping[str, Any], folder: Path, *, show: bool) -> Download:
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
    """What is told how far something is, and draws that on standard error, if that is a terminal."""
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as progress:
        task = progress.add_task("", total=total)
        yield lambda completed: progress.update(task, completed=completed)


def _tell_errors(errors: Sequence[Mapping[str, Any]]) -> None:
    """Name what is wrong with a file, row by row."""
    rows = [error for error in errors if "row" in error]
    if rows:
        columns = ("row", "column", "code", "detail")
        output.table(columns, [[error[column] for column in columns] for error in rows], title="Errors")


def _show(found: Mapping[str, Any], fetched: Download | None, folder: Path | None) -> None:
    for failure in fetched.failures if fetched else ():
        click.echo(f"row {failure['row']}, {failure['id']}: {failure['detail']} ({failure['code']})", err=True)
    _tell_errors(found["errors"])
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
        ("there already", fetched and fetched.kept),
    ]
    output.facts([(name, value) for name, value in pairs if value is not None], title="Bulk")


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([str(state) for state in BulkState]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of results.")
@_json
@click.pass_context
def bulks(ctx: click.Context, state: str | None, limit: int, json_wanted: bool) -> None:
    """List bulks, newest first; show, pause, resume, cancel or retry one; fetch its manifest."""
    if ctx.invoked_subcommand is not None:
        return
    with _client() as client:
        page = client.bulks(state=state, limit=limit)
    if json_wanted:
        output.as_json(page)
        return
    columns = ("id", "name", "state", "rows", "succeeded", "failed", "eta_s")
    output.table(columns, [[{**one, **one["counts"]}[column] for column in columns] for one in page["bulks"]])


@bulks.command("show")
@_id
@click.option("--wait", is_flag=True, help="Wait until every row has its outcome.")
@_json
def show_bulk(bulk_id: str, wait: bool, json_wanted: bool) -> None:
    """Show one bulk."""
    with _client() as client:
        found = client.bulk(bulk_id)
        if wait and found["state"] not in ENDED:
            found = _ended(client, found, show=not json_wanted)
    if json_wanted:
        output.as_json(found)
    else:
        _show(found, None, None)


def _move(wish: str, help_text: str) -> None:
    """Add the command that asks this of a bulk."""

    @bulks.command(wish, help=help_text)
    @_id
    @_json
    def move(bulk_id: str, json_wanted: bool) -> None:
        with _client() as client:
            found = client.move_bulk(bulk_id, wish)
        if json_wanted:
            output.as_json(found)
        else:
            click.echo(f"{bulk_id} is {found['state']}")


_move("pause", "Pause a bulk; what no device holds waits.")
_move("resume", "Go on with a bulk that is paused.")
_move("cancel", "Cancel a bulk that has not ended; what was spoken stays.")
_move("retry", "Try the failed rows of a bulk again, and no others.")


@bulks.command()
@_id
@_to_file
@click.option(
    "--format", "kind", type=click.Choice(("csv", "jsonl")), help="[default: jsonl for a file of that ending, else csv]"
)
def manifest(bulk_id: str, path: Path, kind: str | None) -> None:
    """Fetch the manifest: a line per row, also while the bulk runs."""
    kind = kind or ("jsonl" if path.suffix in {".jsonl", ".ndjson"} else "csv")
    _write(bulk_id, f"manifest.{kind}", path)


@bulks.command()
@_id
@_to_file
def errors(bulk_id: str, path: Path) -> None:
    """Fetch all errors of the file, as CSV: row, column, code, detail."""
    _write(bulk_id, "errors.csv", path)


def _write(bulk_id: str, name: str, path: Path) -> None:
    with _client() as client:
        if str(path) == "-":
            for piece in client.bulk_file(bulk_id, name):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            client.save_bulk_file(bulk_id, name, path)
