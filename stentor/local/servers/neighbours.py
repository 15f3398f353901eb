"""Valkey and S3 of a stack: real servers that start in about a second and keep their data."""

from __future__ import annotations

from collections.abc import Mapping

from stentor.local.directory import DataDir
from stentor.local.servers import programs, seaweedfs, valkey
from stentor.local.servers.ports import stable_ports
from stentor.local.supervision.process import Spec
from stentor.local.supervision.supervisor import Supervisor

BUCKET = "stentor"
VALKEY, S3 = "valkey", "s3"
#: A variable that starts with one of these means that Redis (or S3) runs elsewhere.
REDIS_VARIABLES = ("STENTOR_REDIS_URL",)
S3_VARIABLES = ("STENTOR_S3_ENDPOINT", "STENTOR_S3_ACCESS_KEY", "STENTOR_S3_SECRET_KEY")


def is_elsewhere(variables: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    """Whether the environment names a server of its own."""
    return any(variable.startswith(variables) for variable in environ)


class Neighbours:
    """The servers of one data directory: how to start and how to reach them.

    ``environ`` has the ``STENTOR_*`` variables for the rooms; secrets are in files that these variables name.
    """

    def __init__(self, data_dir: DataDir, environ: Mapping[str, str], supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        secrets = data_dir.secrets()
        self.api_key = secrets.api_key
        self.s3_access_key, self.s3_secret_key = secrets.s3_access_key, secrets.s3_secret_key
        self.s3_bucket = environ.get("STENTOR_S3_BUCKET", BUCKET)
        ports = stable_ports(data_dir.root / "ports.json", (VALKEY, *seaweedfs.SERVERS))
        valkey_port = ports.pop(VALKEY)
        self.redis_url = f"redis://:{secrets.redis_password}@127.0.0.1:{valkey_port}/0"
        self.s3_endpoint = f"http://127.0.0.1:{ports[S3]}"
        self.specs: list[Spec] = []
        self.environ: dict[str, str] = {}
        plain = dict(environ)
        if not is_elsewhere(REDIS_VARIABLES, environ):
            program = programs.find_valkey()
            password = secrets.redis_password
            self.specs.append(
                valkey.spec(data_dir, program=program, port=valkey_port, password=password, environ=plain)
            )
            self.environ |= {"STENTOR_REDIS_URL_FILE": str(data_dir.secret_file("redis_url", self.redis_url))}
        if not is_elsewhere(S3_VARIABLES, environ):
            program = programs.find_weed()
            self.specs.append(seaweedfs.spec(data_dir, program=program, ports=ports, secrets=secrets, environ=plain))
            self.environ |= {
                "STENTOR_S3_ENDPOINT": self.s3_endpoint,
                "STENTOR_S3_BUCKET": self.s3_bucket,
                "STENTOR_S3_ACCESS_KEY_FILE": str(data_dir.secret_file("s3_access_key", self.s3_access_key)),
                "STENTOR_S3_SECRET_KEY_FILE": str(data_dir.secret_file("s3_secret_key", self.s3_secret_key)),
            }
