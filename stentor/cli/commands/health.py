"""``stentor health``: checks whether one service of this host is healthy, for health checks of containers.

It runs every few seconds next to each service, so each command imports only what its check needs.
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

#: Less than the 10 s timeout of our images' health checks, so that the reason is still printed.
TIMEOUT_S = 5.0
#: Address to use for a service that listens on all addresses.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104

_timeout = click.option(
    "--timeout",
    "timeout_s",
    default=TIMEOUT_S,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Maximum time for the answer, in seconds.",
)


@click.group()
def health() -> None:
    """Check whether a service on this host is healthy. Exits with 0 if it is."""


@health.command()
@click.option(
    "--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Address and port of the API."
)
@_timeout
def api(bind: str, timeout_s: float) -> None:
    """Check the API, which checks Redis, S3 and the devices (`/readyz`)."""
    host, _, port = bind.rpartition(":")
    connection = http.client.HTTPConnection(LOOPBACK.get(host, host.strip("[]")), int(port), timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise ApiUnavailable(f"The API does not answer at {bind}: {str(exc) or type(exc).__name__}") from exc
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ApiUnavailable(f"The API at {bind} is not ready: {_reasons(body) or f'it answers {answer.status}'}")
    click.echo(f"The API at {bind} is ready")


def _reasons(body: bytes) -> str:
    """The failed checks in the answer of ``/readyz``, for a person."""
    with contextlib.suppress(ValueError, KeyError, AttributeError, TypeError):
        checks = json.loads(body)["checks"].items()
        return "; ".join(f"{name}: {check['detail']}" for name, check in checks if not check["ok"])
    return ""


@health.command()
@click.option(
    "--device", default="cpu", show_default=True, metavar="DEVICE", help="Device of the worker: cpu, cuda:0, ..."
)
@_timeout
def worker(device: str, timeout_s: float) -> None:
    """Check the last report of this host's device in Redis."""
    from stentor.devices.registry import DeviceRegistry, DeviceState, device_id  # noqa: PLC0415 - see above

    with _redis(timeout_s) as (client, settings):
        name = device_id(settings.host, device)
        try:
            status = DeviceRegistry(client, lease_s=settings.lease_s).get(name)
        except DeviceNotFound as exc:
            raise RoomSilent(f"The device {name} has never reported.") from exc
    if status.state == DeviceState.GONE:
        raise RoomSilent(f"The device {name} has not reported for {settings.lease_s:g} s.")
    if status.state == DeviceState.FAILED:
        raise RoomSilent(f"The device {name} has failed: {status.error}")
    click.echo(f"The device {name} is {status.state}")


@health.command()
@click.option(
    "--name", default="io", show_default=True, help="Name of the io worker, as given to `stentor worker --io --name`."
)
@_timeout
def io(name: str, timeout_s: float) -> None:
    """Check the heartbeat of this host's io worker in Redis."""
    _check_heartbeat("io worker", name, timeout_s)


@health.command()
@_timeout
def scheduler(timeout_s: float) -> None:
    """Check the last tick of this host's scheduler in Redis."""
    _check_heartbeat("scheduler", "scheduler", timeout_s)


def _check_heartbeat(room: str, name: str, timeout_s: float) -> None:
    """Fail if the heartbeat of the room has expired. Each room sets how long its heartbeat is valid."""
    from stentor.redis import keys  # noqa: PLC0415
    from stentor.redis.client import redis_errors  # noqa: PLC0415

    with _redis(timeout_s) as (client, settings):
        with redis_errors():
            beats = client.exists(keys.beat(name, settings.host))
        if not beats:
            raise RoomSilent(
                f"The {room} {settings.host}/{name} has no valid heartbeat: it is not running or it hangs."
            )
    click.echo(f"The {room} {settings.host}/{name} is running.")


@contextlib.contextmanager
def _redis(timeout_s: float) -> Iterator[tuple[redis.Redis, Settings]]:
    """A connection to Redis without retries: the health check itself is repeated."""
    from stentor.redis.client import connect  # noqa: PLC0415
    from stentor.settings import Settings  # noqa: PLC0415

    settings = Settings.from_environ(os.environ)
    with contextlib.closing(connect(settings, retries=0, answer_timeout_s=timeout_s)) as client:
        yield client, settings
