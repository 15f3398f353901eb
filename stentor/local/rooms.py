"""The rooms as processes of the embedded stack: how each starts, and how it shows that it is ready."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import redis

from stentor.devices import registry as devices
from stentor.errors import StentorError
from stentor.local.directory import DataDir
from stentor.local.supervision.process import Spec, child_environ
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import CLIENT_VARIABLES, PREFIX, Settings

Ready = Callable[[int], bool]
#: Variables that the rooms and their model libraries read, in addition to ``PASSED``.
ROOM_VARIABLES = ("CUDA_", "NVIDIA_", "OMP_", "ORT_", "SSL_CERT_", "COVERAGE_", "VIRTUAL_ENV")
#: Timeout of one readiness check, in seconds.
PROBE_S = 1.0
#: Two io workers: while one restarts (Celery takes seconds), the other one sends the webhooks.
IO_NAMES = ("io", "io-2")
IO_CONCURRENCY = 2
#: Seconds. A device ends after its current batch; its other jobs go back to their lanes.
WORKER_GRACE_S = 30.0
#: Seconds. Longer than the API's own grace period for requests that it is answering.
API_GRACE_S = 15.0


class Rooms:
    """The specs of the rooms of one stack. ``close`` closes the connection of the readiness checks."""

    def __init__(self, settings: Settings, data_dir: DataDir, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._environ = {name: value for name, value in environ.items() if name not in CLIENT_VARIABLES}
        self._redis = connect(settings, retries=0, answer_timeout_s=PROBE_S)

    def close(self) -> None:
        """Close the connection of the readiness checks."""
        self._redis.close()

    def workers(self, device_names: tuple[str, ...]) -> list[Spec]:
        """One worker per device, the io workers and the scheduler."""
        pinned = [
            self._spec(f"worker:{name}", "worker", "--device", name, ready=self._device_ready(name))
            for name in device_names
        ]
        io = ("worker", "--io", "--concurrency", str(IO_CONCURRENCY), "--name")
        return [
            *pinned,
            *(self._with_heartbeat(name, *io, name) for name in IO_NAMES),
            self._with_heartbeat("scheduler", "scheduler"),
        ]

    def api(self, host: str, port: int) -> Spec:
        """The HTTP API."""
        bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

        def ready(_pid: int) -> bool:
            return api_answers(reachable_host(host), port)

        return self._spec("api", "api", "--bind", bind, ready=ready, grace_s=API_GRACE_S)

    def _with_heartbeat(self, name: str, *words: str) -> Spec:
        key = keys.beat(name, self._settings.host)

        def beats(_pid: int) -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self._redis.exists(key))
            return False

        def forget() -> None:
            with contextlib.suppress(redis.RedisError):
                self._redis.delete(key)

        forget()  # the heartbeat of an earlier process that was killed
        return self._spec(name, *words, ready=beats, after=forget)

    def _device_ready(self, name: str) -> Ready:
        wanted = devices.device_id(self._settings.host, name)
        registry = devices.DeviceRegistry(self._redis, lease_s=self._settings.lease_s)

        def ready(pid: int) -> bool:
            with contextlib.suppress(StentorError, ProcessLookupError):
                status = registry.get(wanted)
                # The report may be that of an earlier process; ours runs in the session that we started.
                return status.state in devices.LIVE and os.getsid(status.pid) == pid
            return False

        return ready

    def _spec(
        self,
        name: str,
        *words: str,
        ready: Ready,
        grace_s: float = WORKER_GRACE_S,
        after: Callable[[], None] = lambda: None,
    ) -> Spec:
        own = {variable: value for variable, value in self._environ.items() if variable.startswith(PREFIX)}
        return Spec(
            name=name,
            # -P: do not import a folder `api` or `worker` from the working directory.
            argv=[sys.executable, "-P", "-m", "stentor.cli", *words],
            environ=child_environ(self._environ, *ROOM_VARIABLES) | own | {"PYTHONUNBUFFERED": "1"},
            log=self._data_dir.log(name),
            cwd=Path.cwd(),
            ready=ready,
            grace_s=grace_s,
            after=after,
        )


def reachable_host(host: str) -> str:
    """The address for connections from this machine to a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def api_answers(host: str, port: int) -> bool:
    """Whether the API answers that it, Redis, S3 and a device are ready."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
