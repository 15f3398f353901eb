"""``stentor bulks``: lists and shows bulks, changes their state, and fetches their files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stentor.bulks.bulk import ENDED, BulkState
from stentor.cli import output
from stentor.cli.bulk_progress import print_bulk, wait_for_end
from stentor.cli.finding import open_client

_id = click.argument("bulk_id", metavar="ID")
_to_file = click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    help="File to write.  [default: standard output]",
)


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([str(state) for state in BulkState]), help="Only bulks in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of results.")
@output.json_option
@click.pass_context
def bulks(ctx: click.Context, state: str | None, limit: int, json_wanted: bool) -> None:
    """List bulks, newest first; show, pause, resume, cancel or retry one; fetch its manifest or errors."""
    if ctx.invoked_subcommand is not None:
        return
    with open_client() as client:
        page = client.bulks(state=state, limit=limit)
    if json_wanted:
        output.print_json(page)
        return
    columns = ("id", "name", "state", "rows", "succeeded", "failed", "eta_s")
    output.print_table(columns, [[{**one, **one["counts"]}[column] for column in columns] for one in page["bulks"]])


@bulks.command("show")
@_id
@click.option("--wait", is_flag=True, help="Wait until all rows have an outcome.")
@output.json_option
def show_bulk(bulk_id: str, wait: bool, json_wanted: bool) -> None:
    """Show one bulk."""
    with open_client() as client:
        found = client.bulk(bulk_id)
        if wait and found["state"] not in ENDED:
            found = wait_for_end(client, found, show=not json_wanted)
    if json_wanted:
        output.print_json(found)
    else:
        print_bulk(found)


def _add_order(order: str, help_text: str) -> None:
    """Add the command that gives this order to a bulk."""

    @bulks.command(order, help=help_text)
    @_id
    @output.json_option
    def give_order(bulk_id: str, json_wanted: bool) -> None:
        with open_client() as client:
            found = client.move_bulk(bulk_id, order)
        if json_wanted:
            output.print_json(found)
        else:
            click.echo(f"{bulk_id} is {found['state']}")


_add_order("pause", "Pause a bulk. Rows that a device holds already are still spoken.")
_add_order("resume", "Resume a paused bulk.")
_add_order("cancel", "Cancel a bulk that has not ended. Audio that was spoken stays.")
_add_order("retry", "Retry only the failed rows of a bulk.")


@bulks.command()
@_id
@_to_file
@click.option(
    "--format",
    "kind",
    type=click.Choice(("csv", "jsonl")),
    help="Format of the manifest.  [default: jsonl if the file name ends so, otherwise csv]",
)
def manifest(bulk_id: str, path: Path, kind: str | None) -> None:
    """Fetch the manifest: one line per row, also while the bulk runs."""
    kind = kind or ("jsonl" if path.suffix in {".jsonl", ".ndjson"} else "csv")
    _save(bulk_id, f"manifest.{kind}", path)


@bulks.command()
@_id
@_to_file
def errors(bulk_id: str, path: Path) -> None:
    """Fetch all errors of the file as CSV: row, column, code, detail."""
    _save(bulk_id, "errors.csv", path)


def _save(bulk_id: str, name: str, path: Path) -> None:
    with open_client() as client:
        if str(path) == "-":
            for piece in client.bulk_file(bulk_id, name):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            client.save_bulk_file(bulk_id, name, path)
