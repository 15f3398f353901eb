"""``stentor voices``: lists voices, and uploads, previews and deletes your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stentor.cli import output
from stentor.cli.finding import open_client
from stentor.client.transport import without_none


@click.group(invoke_without_command=True)
@output.json_option
@click.pass_context
def voices(ctx: click.Context, json_wanted: bool) -> None:
    """List voices; add, preview and delete your own."""
    if ctx.invoked_subcommand is not None:
        return
    with open_client() as client:
        found = client.voices()
    if json_wanted:
        output.print_json({"voices": found})
    else:
        columns = ("name", "kind", "languages", "sample_rate_hz", "engine", "model", "description")
        output.print_table(columns, [[voice.get(column) for column in columns] for voice in found])


@voices.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", required=True, help="Name of the voice in jobs: letters, digits, '.', '_' and '-'.")
@click.option("--consent", required=True, help="Statement of who speaks, and that they agree to this use.")
@click.option("--language", required=True, help="Language of the recording, such as en or en-GB.")
@click.option("--transcript", help="Text that is spoken in the recording.")
@output.json_option
def add(file: Path, json_wanted: bool, **fields: str | None) -> None:
    """Upload the recording FILE as a voice of your own: 2 to 60 s of one person's speech."""
    with open_client() as client:
        voice = client.add_voice(file, without_none(fields))
    if json_wanted:
        output.print_json(voice)
    else:
        output.print_facts(_facts(voice), title=f"Voice {voice['name']}")


@voices.command()
@click.argument("voice", metavar="NAME")
def delete(voice: str) -> None:
    """Delete a voice of your own, by its name or id."""
    with open_client() as client:
        deleted = client.delete_voice(voice)
    click.echo(f"deleted {deleted['name']} ({deleted['id']})")


@voices.command()
@click.argument("voice", metavar="NAME")
@click.option(
    "-o", "--output", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
def preview(voice: str, path: Path) -> None:
    """Download the stored audio of a voice of your own."""
    with open_client() as client:
        body = client.voice_preview(voice)
    path.write_bytes(body)
    click.echo(f"{path}: {len(body)} bytes")


def _facts(voice: dict[str, Any]) -> list[tuple[str, object]]:
    known = voice["recording"]
    pairs = [(name, voice[name]) for name in ("id", "name", "languages", "model")]
    figures = ("state", "duration_s", "snr_db", "clipped_share", "peak_dbfs", "loudness_lufs")
    pairs += [(name, known[name]) for name in figures]
    return [(name, value) for name, value in pairs if value is not None]
