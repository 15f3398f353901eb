"""The embedded S3: SeaweedFS in one process, loopback only, signatures checked, side doors shut.

``weed mini`` is a master, a volume server, a filer, an S3 gateway and a maintenance worker with its admin server, each
on two ports. Of these only S3 is for us. The filer and the volume server would give any object to whoever asks on
loopback; with signing keys in ``security.toml`` they want tokens, which S3 makes for itself. (Their gRPC ports would
need TLS for the same; who can reach loopback and speaks SeaweedFS's own protocol is not kept out.)
"""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path

from stentor.local.directory import DataDir, Secrets
from stentor.local.servers.ports import GRPC_OFFSET
from stentor.local.supervision.process import Spec, passed_on

#: The servers inside ``weed mini`` that take a port.
SERVERS = ("s3", "master", "volume", "filer", "admin")
#: A volume is a file that grows up to this size; the first write wants room for one.
VOLUME_LIMIT_MB = 256
PROBE_S = 1.0

_SECURITY = """\
[jwt.signing]
key = "{key}"
[jwt.signing.read]
key = "{key}"
[jwt.filer_signing]
key = "{key}"
[jwt.filer_signing.read]
key = "{key}"
"""


def spec(data_dir: DataDir, *, program: Path, ports: dict[str, int], secrets: Secrets, environ: dict[str, str]) -> Spec:
    """How the embedded S3 is started; its identity and keys are written on the way. ``ports`` has all ``SERVERS``."""
    identities = data_dir.secret_file("s3.json", _identities(secrets))
    # `weed` looks for security.toml in its working directory, and keeps state in HOME.
    data_dir.secret_file("security.toml", _SECURITY.format(key=secrets.s3_internal_key))
    folder = data_dir.root / "s3"
    # Options of an earlier start, which would be read back.
    (folder / "mini.options").unlink(missing_ok=True)
    _remove_sockets(ports)
    return Spec(
        name="s3",
        argv=[str(program), "mini", *_options(folder, identities, ports)],
        environ=passed_on(environ) | {"HOME": str(data_dir.run)},
        log=data_dir.log("s3"),
        cwd=data_dir.run,
        ready=lambda _: answers(ports),
        after=lambda: _remove_sockets(ports),
    )


def _options(folder: Path, identities: Path, ports: dict[str, int]) -> list[str]:
    return [
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        f"-s3.config={identities}",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        # A master that resumes waits for an election, which its volume server only notices 5 s later; what it would
        # resume it also learns from the volume server's first message (tried: 14 kills and stops, no object lost).
        "-master.resumeState=false",
        f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
        "-volume.preStopSeconds=0",
    ]


def _identities(secrets: Secrets) -> str:
    credentials = [{"accessKey": secrets.s3_access_key, "secretKey": secrets.s3_secret_key}]
    identity = {"name": "stentor", "credentials": credentials, "actions": ["Admin"]}
    return json.dumps({"identities": [identity]}, indent=2) + "\n"


def _remove_sockets(ports: dict[str, int]) -> None:
    """Remove the Unix sockets that ``weed`` makes in /tmp and does not always take away."""
    for name, port in ports.items():
        for leftover in (f"seaweedfs-{name}-{port}.sock", f"seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock"):
            with contextlib.suppress(OSError):
                (Path("/tmp") / leftover).unlink()  # noqa: S108 - the path is weed's


def answers(ports: dict[str, int]) -> bool:
    """Whether the S3 gateway says that it is up and the master knows of a place for objects."""
    if _get(ports["s3"], "/healthz") is None:
        return False
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return bool(json.loads(_get(ports["master"], "/dir/status") or "")["Topology"]["DataCenters"])
    return False


def _get(port: int, path: str) -> bytes | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
