"""``stentor up``: runs Valkey, S3 and all rooms on this machine until it is stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stentor.errors import UnavailableError
from stentor.local import runfile
from stentor.local.directory import DataDir
from stentor.local.rooms import Rooms, reachable_host
from stentor.local.runfile import RunFile
from stentor.local.servers.neighbours import Neighbours
from stentor.local.servers.ports import usable_port
from stentor.local.supervision.stops import StopSignals
from stentor.local.supervision.supervisor import Interrupted, Supervisor, SupervisorEvent
from stentor.owners.access import KeyStore
from stentor.redis import client as redis_client
from stentor.settings import Settings
from stentor.storage.s3 import Storage

#: Owner and name of the API key of the stack.
KEY_OWNER, KEY_NAME = "local", "stentor up"
#: How long Redis and S3 may take from their first answer until they work, in seconds.
SETTLE_S = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackOptions:
    """The options of an embedded stack."""

    data_dir: Path
    host: str = "127.0.0.1"
    #: 0 selects a free port.
    port: int = 8080
    devices: tuple[str, ...] = ("cpu",)


def up(
    options: StackOptions,
    environ: Mapping[str, str],
    *,
    report: Callable[[SupervisorEvent], None],
    ready: Callable[[RunFile], None],
) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP. ``ready`` is called once, when all processes are ready.

    Raises:
        ConfigurationError: the settings, the data directory, the port or a missing program do not allow a start.
        UnavailableError: a process does not start, or keeps dying. Everything was stopped.
    """
    # Check the settings first, so that an invalid variable does not cost a start and a stop.
    Settings.from_environ(environ)
    port = usable_port(options.port, options.host)
    with StopSignals() as stops, DataDir.open(options.data_dir) as data_dir, contextlib.ExitStack() as cleanup:
        runfile.remove(data_dir.root)
        supervisor = Supervisor(
            report, stop_requested=stops.is_requested, inherit=(data_dir.lock,), on_change=data_dir.remember_children
        )
        try:
            with contextlib.suppress(Interrupted):
                near = Neighbours(data_dir, environ, supervisor)
                write_run_file = _start(dataclasses.replace(options, port=port), environ, data_dir, near, cleanup)
                ready(write_run_file())
                supervisor.watch(on_ready=write_run_file)
        finally:
            runfile.remove(data_dir.root)
            supervisor.stop(hurry=stops.is_urgent)


def _start(
    options: StackOptions,
    environ: Mapping[str, str],
    data_dir: DataDir,
    near: Neighbours,
    cleanup: contextlib.ExitStack,
) -> Callable[[], RunFile]:
    """Start everything; return the function that writes ``run.json`` again."""
    supervisor = near.supervisor
    supervisor.launch(near.specs)
    supervisor.wait_ready()
    whole = {**environ, **near.environ}
    settings = Settings.from_environ(whole)
    _prepare(settings, near.api_key)
    rooms = cleanup.enter_context(contextlib.closing(Rooms(settings, data_dir, whole)))
    supervisor.launch(rooms.workers(options.devices))
    supervisor.launch([rooms.api(options.host, options.port)])
    supervisor.wait_ready()

    def write_run_file() -> RunFile:
        run = _run_file(options, settings, data_dir, near.api_key, supervisor.pids)
        runfile.write(data_dir.root, run)
        return run

    return write_run_file


def _prepare(settings: Settings, api_key: str) -> None:
    """Store the stack's API key and create the bucket."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            with contextlib.closing(redis_client.connect(settings)) as client:
                KeyStore(client).put(api_key, owner=KEY_OWNER, name=KEY_NAME)
            Storage(settings).ensure_bucket()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _run_file(
    options: StackOptions, settings: Settings, data_dir: DataDir, api_key: str, pids: dict[str, int]
) -> RunFile:
    host = reachable_host(options.host)
    return RunFile(
        api_url=f"http://[{host}]:{options.port}" if ":" in host else f"http://{host}:{options.port}",
        api_key=api_key,
        redis_url=settings.redis_url.get_secret_value(),
        s3_endpoint=settings.s3_endpoint,
        s3_bucket=settings.s3_bucket,
        s3_access_key=settings.s3_access_key.get_secret_value(),
        s3_secret_key=settings.s3_secret_key.get_secret_value(),
        processes=pids,
        pid=os.getpid(),
        log_dir=str(data_dir.root / "logs"),
    )
