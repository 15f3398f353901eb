"""``stentor bulk``: speaks a file of texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from stentor.cli import exit_codes, output
from stentor.cli.bulk_progress import fetch_audio, print_bulk, upload, wait_for_end
from stentor.cli.finding import open_client
from stentor.cli.speech_options import speech_options


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--wait", is_flag=True, help="Wait until all rows have an outcome.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Wait, then download all audio and the manifest into this folder, except files that are there already.",
)
@click.option("--dry-run", is_flag=True, help="Only check the file.")
@click.option(
    "--on-error",
    type=click.Choice(("reject", "skip")),
    help="What to do about bad rows: reject the file, or skip them.  [default: reject]",
)
@click.option("--webhook", "webhook_url", metavar="URL", help="URL that gets a webhook when the bulk has ended.")
@click.option("--name", help="Name of the bulk.  [default: the file's name]")
@click.option("--archive", is_flag=True, help="Also pack the audio into an archive.")
@speech_options()
@output.json_option
def bulk(file: Path, wait: bool, folder: Path | None, json_wanted: bool, **fields: Any) -> None:
    """Speak FILE: CSV, TSV or JSON Lines with a column `text`, also gzipped. Exits with 1 if rows failed, 2 if the file
    is refused."""
    given = {name: value for name, value in fields.items() if value is not None and value is not False}
    show = not json_wanted
    with open_client() as client:
        found = upload(client, file, given, show=show)
        if wait or folder or fields["dry_run"]:
            found = wait_for_end(client, found, show=show)
        fetched = fetch_audio(client, found, folder, show=show) if folder and found["state"] != "failed" else None
    if json_wanted:
        output.print_json({**found, "download": dataclasses.asdict(fetched)} if fetched else found)
    else:
        print_bulk(found, fetched, folder)
    if found["counts"]["failed"] or (fetched and fetched.failures):
        raise click.exceptions.Exit(exit_codes.FAILED)
