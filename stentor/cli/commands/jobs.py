"""The commands ``say``, ``submit`` and ``job``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stentor.cli import exit_codes, output
from stentor.cli import submit as submitting
from stentor.cli.finding import open_client
from stentor.cli.speech_options import speech_options
from stentor.client import Client, Problem
from stentor.client.transport import without_none
from stentor.client.types import JobJson
from stentor.formats import FORMATS
from stentor.jobs.job import PRIORITIES, JobState

#: How long `say` waits for its job, in seconds; after that it shows the state of the job.
SAY_TIMEOUT_S = 300.0

_Command = TypeVar("_Command", bound=Callable[..., Any])
_priority = click.Choice([str(priority) for priority in PRIORITIES])


def _text_options(command: _Command) -> _Command:
    """The options that say how a text is spoken, and whether again."""
    again = click.option(
        "--no-cache", "cache", flag_value=False, default=None, help="Speak it even if it was spoken before."
    )
    return speech_options()(again(command))


@click.command()
@click.argument("text")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    required=True,
    help="File to write; - for standard output.",
)
@_text_options
@output.json_option
def say(text: str, path: Path, json_wanted: bool, **speech: Any) -> None:
    """Speak TEXT into a file. The file extension sets the format, unless --format is given."""
    if speech["format"] is None and path.suffix[1:].lower() in FORMATS:
        speech["format"] = path.suffix[1:].lower()
    to_pipe = str(path) == "-"
    with open_client() as client:
        job = client.submit_job({"text": text, "priority": "interactive", **without_none(speech)})
        job = client.settled_job(job["id"], timeout_s=SAY_TIMEOUT_S)
        _require_success(job)
        if to_pipe:
            sys.stdout.buffer.write(client.audio(job["id"]))
        else:
            client.save_audio(job["id"], path)
    if json_wanted and not to_pipe:
        output.print_json({**job, "output": str(path)})
    elif not to_pipe:
        click.echo(f"{path}: {job['audio_s']:.2f} s of speech, voice {job['voice']}, job {job['id']}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the audio files, one per line: <line>-<job id>.<format>.",
)
@_text_options
@click.option(
    "--priority",
    type=click.Choice([str(priority) for priority in PRIORITIES]),
    help="Which jobs go first.  [default: standard]",
)
@output.json_option
def submit(file: Path, folder: Path, json_wanted: bool, **parameters: Any) -> None:
    """Speak FILE, one job per line, into a folder. Exits with 1 if some lines failed."""
    with open_client() as client:
        result = submit_file(client, file, folder, without_none(parameters), show=not json_wanted)
    if json_wanted:
        output.print_json(dataclasses.asdict(result) | {"output": str(result.output), "succeeded": result.succeeded})
    else:
        show_result(result)
    if result.failures:
        raise click.exceptions.Exit(exit_codes.FAILED)


def submit_file(
    client: Client, file: Path, folder: Path, parameters: dict[str, Any], *, show: bool = True
) -> submitting.SubmitResult:
    """Speak a file of texts. Standard error shows a progress bar, or a line per tenth if it is not a terminal."""
    lines = submitting.read_lines(file)
    columns = (
        TextColumn("speaking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as progress:
        task = progress.add_task("speaking", total=len(lines), rate="")
        audio_s = 0.0
        tenth = max(1, len(lines) // 10)

        def count(seconds: float) -> None:
            nonlocal audio_s
            audio_s += seconds
            elapsed_s = progress.tasks[task].elapsed or 1e-9
            rate = f"{audio_s / elapsed_s:.1f} s of audio per s"
            progress.update(task, advance=1, rate=rate)
            done = round(progress.tasks[task].completed)
            if show and progress.disable and done % tenth == 0:
                click.echo(f"{done} of {len(lines)} spoken, {rate}", err=True)

        return submitting.Submission(client, folder, parameters, count).run(lines)


def show_result(result: submitting.SubmitResult) -> None:
    """Print the totals of a file, and the lines that failed."""
    for failure in result.failures:
        click.echo(f"line {failure.line}: {failure.detail} ({failure.code})", err=True)
    pairs = [
        ("texts", result.texts),
        ("succeeded", result.succeeded),
        ("failed", len(result.failures)),
        ("audio", f"{result.audio_s:.1f} s"),
        ("wall time", f"{result.wall_s:.1f} s"),
        ("speed", f"{result.audio_s / max(result.wall_s, 1e-9):.1f} s of audio per s"),
        ("batches", result.batches),
        ("mean batch size", f"{result.mean_batch_size:.1f}"),
        ("files", result.output),
    ]
    output.print_facts(pairs, title="Spoken")


@click.command()
@click.argument("job_id", metavar="ID")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=0,
    help="Wait up to this many seconds for it to end.",
)
@output.json_option
def job(job_id: str, wait_s: float, json_wanted: bool) -> None:
    """Show one job."""
    with open_client() as client:
        found = client.settled_job(job_id, timeout_s=wait_s) if wait_s else client.job(job_id)
    if json_wanted:
        output.print_json(found)
    else:
        output.print_facts([(name, value) for name, value in found.items() if value is not None], title=f"Job {job_id}")


def _require_success(job: JobJson) -> None:
    if job["state"] == JobState.SUCCEEDED:
        return
    error = job["error"]
    if error:
        raise Problem(code=error["code"], status=200, detail=error["detail"], retryable=error["retryable"])
    raise Problem(code="job_not_spoken", status=200, detail=f"job {job['id']} is {job['state']}")
