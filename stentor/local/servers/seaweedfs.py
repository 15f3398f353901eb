"""The embedded S3: SeaweedFS in one process, on loopback only, with checked signatures and closed side doors.

``weed mini`` runs a master, a volume server, a filer, an S3 gateway and a maintenance worker with its admin server,
each on two ports. Stentor uses only S3. The filer and the volume server would give any object to any local process;
with signing keys in ``security.toml`` they require tokens, which S3 creates itself. (Their gRPC ports would need TLS
for the same protection. They are open to local processes that speak SeaweedFS's own protocol.)
"""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path

from stentor.local.directory import DataDir, Secrets
from stentor.local.servers.ports import GRPC_OFFSET
from stentor.local.supervision.process import Spec, child_environ

#: The servers inside ``weed mini`` that need a port.
SERVERS = ("s3", "master", "volume", "filer", "admin")
#: A volume is a file that grows up to this size; the first write needs space for one.
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
    """The spec of the embedded S3; also writes its identity and keys. ``ports`` has all ``SERVERS``."""
    identities = data_dir.secret_file("s3.json", _identities(secrets))
    # `weed` looks for security.toml in its working directory, and keeps state in HOME.
    data_dir.secret_file("security.toml", _SECURITY.format(key=secrets.s3_internal_key))
    folder = data_dir.root / "s3"
    # Options of an earlier start, which `weed` would read again.
    (folder / "mini.options").unlink(missing_ok=True)
    _remove_sockets(ports)
    return Spec(
        name="s3",
        argv=[str(program), "mini", *_options(folder, identities, ports)],
        environ=child_environ(environ) | {"HOME": str(data_dir.run)},
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
        # A master that resumes its state waits for an election, which its volume server notices only 5 s later. It gets
        # the same state from the volume server's first message (tested with 14 kills and stops, no object lost).
        "-master.resumeState=false",
        f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
        "-volume.preStopSeconds=0",
    ]


def _identities(secrets: Secrets) -> str:
    credentials = [{"accessKey": secrets.s3_access_key, "secretKey": secrets.s3_secret_key}]
    identity = {"name": "stentor", "credentials": credentials, "actions": ["Admin"]}
    return json.dumps({"identities": [identity]}, indent=2) + "\n"


def _remove_sockets(ports: dict[str, int]) -> None:
    """Remove the Unix sockets that ``weed`` creates in /tmp and does not always remove."""
    for name, port in ports.items():
        for leftover in (f"seaweedfs-{name}-{port}.sock", f"seaweedfs-{name}-grpc-{port + GRPC_OFFSET}.sock"):
            with contextlib.suppress(OSError):
                (Path("/tmp") / leftover).unlink()  # noqa: S108 - the path is weed's


def answers(ports: dict[str, int]) -> bool:
    """Whether the S3 gateway is up and the master knows a place for objects."""
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
