"""The command ``stentor``: a group whose commands are only imported when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from stentor.cli import exit_codes
from stentor.errors import StentorError

#: Command -> where it is, and its line in ``stentor --help`` (so that help needs no import), in the order of help.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "say": ("jobs:say", "Speak one text into a file."),
    "submit": ("jobs:submit", "Speak a file of texts, a line a job, into a folder."),
    "job": ("jobs:job", "Show one job."),
    "bulk": ("bulks:bulk", "Speak a CSV, TSV or JSON Lines file of texts."),
    "bulks": ("bulks:bulks", "List bulks; show, pause, resume, cancel or retry one; fetch its manifest."),
    "voices": ("voices:voices", "List the voices; add, hear and delete your own."),
    "webhooks": ("webhooks:webhooks", "List endpoints; add, ping, replay; listen as a receiver."),
    "devices": ("devices:devices", "List the devices; load or unload their models, set their clocks."),
    "cost": ("cost:cost", "Show what speech cost, and what was saved; draw a day."),
    "up": ("up:up", "Run everything on this machine until Ctrl-C."),
    "api": ("rooms:api", "Run the HTTP API alone."),
    "worker": ("rooms:worker", "Run the worker of one device, or the io worker, alone."),
    "scheduler": ("rooms:scheduler", "Run the scheduler alone."),
    "health": ("health:health", "Ask a room of this host whether it is well."),
    "keys": ("keys:keys", "Create, list and revoke API keys."),
    "bench": ("bench:bench", "Measure how much is spoken, and how soon."),
    "doctor": ("doctor:doctor", "Tell what is reachable, writable and missing."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command, imported now."""
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


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 30 ms that only --version needs

        click.echo(f"stentor {version('stentor')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def cli() -> None:
    """Stentor turns very many short texts into speech files.

    `stentor up` runs everything on this machine; `stentor say "Hello" -o hello.wav` speaks.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with one of ``exit_codes``."""
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code. Failures have been told on standard error."""
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
        # Whoever read our output (`| head`) has enough; a further flush at exit must not complain.
        sys.stdout = None
        return exit_codes.OK
    return code if isinstance(code, int) else exit_codes.OK
