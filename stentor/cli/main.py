"""The command ``stentor``: a group that imports a command only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from stentor.cli import exit_codes
from stentor.errors import StentorError

#: Command -> its module and function, and its line in ``stentor --help`` (without an import), in the order of help.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "say": ("jobs:say", "Speak one text into a file."),
    "submit": ("jobs:submit", "Speak a file of texts, one job per line, into a folder."),
    "job": ("jobs:job", "Show one job."),
    "bulk": ("bulk:bulk", "Speak a CSV, TSV or JSON Lines file of texts."),
    "bulks": ("bulks:bulks", "List bulks; show, pause, resume, cancel or retry one; fetch its manifest or errors."),
    "voices": ("voices:voices", "List voices; add, preview and delete your own."),
    "webhooks": (
        "webhooks:webhooks",
        "List webhook endpoints; add, ping or delete one; replay deliveries; receive locally.",
    ),
    "devices": ("devices:devices", "List devices; load or unload their models; set GPU clocks."),
    "cost": ("cost:cost", "Show the cost of speech and the savings; draw a day."),
    "up": ("up:up", "Run everything on this machine until Ctrl-C."),
    "api": ("rooms:api", "Run only the HTTP API."),
    "worker": ("rooms:worker", "Run only the worker of one device, or only an io worker."),
    "scheduler": ("rooms:scheduler", "Run only the scheduler."),
    "health": ("health:health", "Check whether a service on this host is healthy."),
    "keys": ("keys:keys", "Create, list and revoke API keys."),
    "bench": ("bench:bench", "Measure throughput and latency."),
    "doctor": ("doctor:doctor", "Check what is installed, reachable and writable."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"stentor.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 30 ms that only --version needs

        click.echo(f"stentor {version('stentor')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Stentor turns large numbers of short texts into speech files.

    `stentor up` runs everything on this machine. `stentor say "Hello" -o hello.wav` speaks a text.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with one of ``exit_codes``."""
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run the command line, print failures on standard error, and return the exit code."""
    try:
        code = cli.main(argv, prog_name="stentor", standalone_mode=False)
    except StentorError as error:
        click.echo(f"error: {error.detail} ({error.code})", err=True)
        return exit_codes.of(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has closed the pipe. A flush at exit must not fail.
        sys.stdout = None
        return exit_codes.OK
    return code if isinstance(code, int) else exit_codes.OK
