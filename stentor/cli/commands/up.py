"""``stentor up``: everything on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stentor.cli import output
from stentor.local import stack
from stentor.local.directory import default_data_dir
from stentor.local.runfile import RunFile
from stentor.local.supervision.supervisor import SupervisorEvent

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the API; 0 selects a free port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Directory for all data.  [default: ~/.local/share/stentor]"
)
@click.option(
    "--devices",
    default="cpu",
    show_default=True,
    help="Devices, comma-separated; each gets a worker: cpu, or cuda:0,cuda:1.",
)
def up(port: int, host: str, data_dir: Path | None, devices: str) -> None:
    """Run everything on this machine until Ctrl-C.

    Starts Valkey, an S3 server, the API, a worker per device, the io workers and the scheduler, and restarts what dies.
    If STENTOR_REDIS_URL or STENTOR_S3_ENDPOINT is set, that server is used instead.
    """
    names = tuple(dict.fromkeys(name.strip() for name in devices.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("No device given. Use a list such as cpu or cuda:0,cuda:1.", param_hint="--devices")
    directory = (data_dir or default_data_dir(os.environ)).expanduser().absolute()
    options = stack.StackOptions(data_dir=directory, host=host, port=port, devices=names)
    # The stack's own servers are on loopback, so no proxy may be used for them.
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    click.echo(f"starting in {directory}")
    stack.up(options, os.environ, report=_print_event, ready=lambda run: _print_ready(run, options))
    click.echo("stopped")


def _print_event(event: SupervisorEvent) -> None:
    match event.kind:
        case "ready":
            click.echo(f"  {event.name:<14} ready after {event.took_s:.1f} s (pid {event.pid})")
        case "died":
            click.echo(f"  {event.name:<14} died: {event.detail} (pid {event.pid})")
        case "stopped" if event.detail:
            click.echo(f"  {event.name:<14} {event.detail} after {event.took_s:.1f} s (pid {event.pid})")
        case "stopped":
            click.echo(f"  {event.name:<14} stopped")
        case _:
            pass


def _print_ready(run: RunFile, options: stack.StackOptions) -> None:
    pairs = [
        ("API", run.api_url),
        ("docs", f"{run.api_url}/docs"),
        ("key", run.api_key),
        ("devices", options.devices),
        ("data", options.data_dir),
        ("logs", run.log_dir),
    ]
    output.print_facts(pairs, title="Stentor is ready")
    if options.host not in _LOOPBACK:
        click.echo(
            "note: audio URLs point to the S3 server on the loopback address of this machine. Other machines can get "
            "audio with ?inline=1. Or set STENTOR_S3_PUBLIC_ENDPOINT."
        )
    click.echo('Press Ctrl-C to stop. Try in another terminal: stentor say "Hello!" -o hello.wav')
