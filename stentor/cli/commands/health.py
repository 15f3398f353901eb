"""``stentor health``: asks one room of this host whether it is well, for health checks of containers.

It is started every few seconds beside each room, so that it loads no more than the one question needs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stentor.errors import ApiUnavailable, DeviceNotFound, RoomSilent

if TYPE_CHECKING:
    import redis

    from stentor.settings import Settings

#: Less than the 10 s after which the health checks of our images give up, so that the reason is told.
TIMEOUT_S = 5.0
#: Where a room that listens everywhere is asked.
NEAR = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104

_timeout = click.option(
    "--timeout",
    "timeout_s",
    default=TIMEOUT_S,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long an answer may take.",
)


@click.group()
def health() -> None:
    """Ask a room of this host whether it is well; exits with 0 if it is."""


@health.command()
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where it listens.")
@_timeout
def api(bind: str, timeout_s: float) -> None:
    """Ask the API, which asks Redis, S3 and the devices (`/readyz`)."""
    host, _, port = bind.rpartition(":")
    connection = http.client.HTTPConnection(NEAR.get(host, host.strip("[]")), int(port), timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise ApiUnavailable(f"the API does not answer at {bind}: {str(exc) or type(exc).__name__}") from exc
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ApiUnavailable(f"the API at {bind} is not ready: {_reasons(body) or f'it answers {answer.status}'}")
    click.echo(f"the API at {bind} is ready")


def _reasons(body: bytes) -> str:
    """What of the answer of ``/readyz`` is not well, in words."""
    with contextlib.suppress(ValueError, KeyError, AttributeError, TypeError):
        checks = json.loads(body)["checks"].items()
        return "; ".join(f"{name}: {check['detail']}" for name, check in checks if not check["ok"])
    return ""


@health.command()
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="The device: cpu, cuda:0, ...")
@_timeout
def worker(device: str, timeout_s: float) -> None:
    """Ask Redis when this host's device was last heard of, and whether it works."""
    from stentor.devices.registry import DeviceRegistry, DeviceState, device_id  # noqa: PLC0415 - as said above

    with _redis(timeout_s) as (client, settings):
        wanted = device_id(settings.host, device)
        try:
            status = DeviceRegistry(client, lease_s=settings.lease_s).get(wanted)
        except DeviceNotFound as exc:
            raise RoomSilent(f"the device {wanted} was never heard of") from exc
    if status.state == DeviceState.GONE:
        raise RoomSilent(f"the device {wanted} has not been heard of for {settings.lease_s:g} s")
    if status.state == DeviceState.FAILED:
        raise RoomSilent(f"the device {wanted} has failed: {status.error}")
    click.echo(f"the device {wanted} is {status.state}")


@health.command()
@click.option("--name", default="io", show_default=True, help="The io worker's name, as it was started with.")
@_timeout
def io(name: str, timeout_s: float) -> None:
    """Ask Redis for the heartbeat of this host's io worker."""
    _beats("io worker", name, timeout_s)


@health.command()
@_timeout
def scheduler(timeout_s: float) -> None:
    """Ask Redis for the last tick of this host's scheduler."""
    _beats("scheduler", "scheduler", timeout_s)


def _beats(room: str, name: str, timeout_s: float) -> None:
    """Refuse if the room's heartbeat has expired; each room says how long its own is good for."""
    from stentor.redis import keys  # noqa: PLC0415
    from stentor.redis.client import redis_errors  # noqa: PLC0415

    with _redis(timeout_s) as (client, settings):
        with redis_errors():
            beats = client.exists(keys.beat(name, settings.host))
        if not beats:
            raise RoomSilent(f"the {room} {settings.host}/{name} has not been heard of lately, or never was")
    click.echo(f"the {room} {settings.host}/{name} is there")


@contextlib.contextmanager
def _redis(timeout_s: float) -> Iterator[tuple[redis.Redis, Settings]]:
    """The room's own way to Redis, tried once: a health check comes again."""
    from stentor.redis.client import connect  # noqa: PLC0415
    from stentor.settings import Settings  # noqa: PLC0415

    settings = Settings.from_environ(os.environ)
    with contextlib.closing(connect(settings, retries=0, answer_timeout_s=timeout_s)) as client:
        yield client, settings
