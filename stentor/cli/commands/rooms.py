"""The rooms, one per command: ``stentor api``, ``worker`` and ``scheduler``. Each becomes its program with exec."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

import stentor
from stentor.errors import ProgramMissing
from stentor.settings import FILE_SUFFIX, PREFIX, Settings

#: The variable from which the worker reads its device.
DEVICE_VARIABLE = "STENTOR_WORKER_DEVICE"
#: Pattern for the name of an io worker.
IO_NAME = r"io(-[a-z0-9]{1,16})?"
#: A process uses at most one core (Python has one lock); see docs/why/performance.md.
API_WORKERS = 2
#: A request with ``?wait=`` holds a thread while it waits, so there are more threads than cores.
API_THREADS = 64
#: How long the API may finish requests after SIGTERM, in seconds.
API_GRACE_S = 10


@click.command()
@click.option(
    "--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Address and port to listen on."
)
@click.option(
    "--threads",
    default=API_THREADS,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Number of threads per process.",
)
@click.option(
    "--workers", default=API_WORKERS, show_default=True, type=click.IntRange(1, 256), help="Number of processes."
)
def api(bind: str, threads: int, workers: int) -> None:
    """Run only the HTTP API. It uses Redis and S3 of STENTOR_REDIS_URL and STENTOR_S3_ENDPOINT."""
    _need("api", "flask", "flask_openapi3", "granian")
    host, _, port = bind.rpartition(":")
    if not port.isdigit():
        raise click.BadParameter(f"{bind!r} has no port. Use HOST:PORT.", param_hint="--bind")
    # An address without a host means all addresses, as in every server.
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104
    _become("api.front.server", host, port, f"--threads={threads}", f"--workers={workers}", f"--grace={API_GRACE_S}")


@click.command()
@click.option("--device", metavar="DEVICE", help="Device of the worker: cpu, cuda:0, ...")
@click.option("--io", is_flag=True, help="Run an io worker: webhooks, bulks and other work without a model.")
@click.option(
    "--concurrency", default=4, show_default=True, type=click.IntRange(1, 256), help="With --io: number of processes."
)
@click.option("--name", default="io", show_default=True, help="With --io: name of the worker, unique on this machine.")
def worker(device: str | None, io: bool, concurrency: int, name: str) -> None:
    """Run one worker: that of a device (--device cuda:0), or an io worker (--io)."""
    if (device is None) == (not io):
        raise click.UsageError("Give either --device DEVICE, or --io for an io worker.")
    from stentor import doorbell  # noqa: PLC0415 - it imports Celery, which the other commands do not need
    from stentor.devices.registry import device_id  # noqa: PLC0415

    settings = Settings.from_environ(os.environ)
    if device is None:
        if not re.fullmatch(IO_NAME, name):
            raise click.BadParameter(
                f"Invalid name {name!r}. Use a name such as io or io-2 (pattern {IO_NAME}).", param_hint="--name"
            )
        _become("celery", *_celery(doorbell.IO_QUEUE, doorbell.node_name(name, settings.host), concurrency))
    if not re.fullmatch(r"cpu|cuda:\d{1,2}", device):
        raise click.BadParameter(f"Unknown device {device!r}. Use cpu, cuda:0, cuda:1, ...", param_hint="--device")
    _need("worker", "numpy", "pyloudnorm", "soundfile", "soxr")
    queues = f"{doorbell.SYNTHESIS_QUEUE},{doorbell.device_queue(device_id(settings.host, device))}"
    node = doorbell.node_name(device, settings.host)
    _become("celery", *_celery(queues, node, 1), **{DEVICE_VARIABLE: device})


@click.command()
@click.option(
    "--give-back", is_flag=True, help="Only reset GPU clocks that a scheduler left low on this machine, and exit."
)
def scheduler(give_back: bool) -> None:
    """Run only the scheduler: one per machine with devices."""
    _become("scheduler", *(["--give-back"] if give_back else []))


def _celery(queues: str, hostname: str, concurrency: int) -> list[str]:
    return [
        "--app=worker.app:app",
        "--quiet",
        "worker",
        "--pool=prefork",
        f"--concurrency={concurrency}",
        f"--queues={queues}",
        f"--hostname={hostname}",
        "--prefetch-multiplier=1",
        "--without-gossip",
        "--without-mingle",
        "--loglevel=WARNING",
    ]


def _need(extra: str, *modules: str) -> None:
    """Fail if the extra of this room is not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ProgramMissing(f"{', '.join(missing)} is not installed. Run: pip install 'stentor[{extra}]'")


def with_absolute_paths(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with absolute paths in ``STENTOR_*`` variables, for a program with another working directory."""
    return {
        name: str(Path(value).expanduser().absolute()) if _is_path(name) and value else value
        for name, value in environ.items()
    }


def _is_path(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith((FILE_SUFFIX, "_DIR", "_CA"))


def _become(module: str, *arguments: str, **variables: str) -> NoReturn:
    """Turn this process into ``python -m module``.

    Celery puts the working directory in front of the import path; so that a folder ``api`` or ``worker``
    of the user's is not taken for ours, it works where our packages are.
    """
    Settings.from_environ(os.environ)
    environ = (
        with_absolute_paths({name: value for name, value in os.environ.items() if name != DEVICE_VARIABLE}) | variables
    )
    os.chdir(Path(stentor.__file__).parent.parent)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environ)  # noqa: S606 - no shell
