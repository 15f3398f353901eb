#!/usr/bin/env python3
"""Makes the secret files of compose.yaml, each once. Needs nothing but Python 3.

  make_secrets.py                make what is missing; what is there stays
  make_secrets.py rotate NAME    a new password beside the old one, for a user of Redis: api, worker, io, ...
  make_secrets.py retire         old passwords of Redis go
  make_secrets.py join HOST      the folder join/, with what another GPU host needs to reach this one as HOST

A password stands in one file; `users.acl` and S3's files are written anew from those each time. Tell Redis with
`ACL LOAD` (docs/howto/rotate-secrets.md). Files of a Redis or S3 elsewhere are put here by hand before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
#: The user of Stentor's images; every container of the stack that reads secrets has its group.
STENTOR_ID = 1001
#: Users of Redis who are told where it is by a URL, each in a file of its own.
USERS = ("admin", "api", "worker", "io", "scheduler", "flower")
#: The file with each user's password: a URL, but for the one whom the health check of Redis itself asks as.
FILES = {**{user: f"redis_url_{user}" for user in USERS}, "health": "redis_health_password"}
TOKEN_BYTES = 32


class Folder:
    """The folder of secret files, readable on this machine for nobody else."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        self.path = path

    def read(self, name: str) -> str:
        """What a file says, without its line end; empty if there is none."""
        path = self.path / name
        return path.read_text(encoding="utf-8").rstrip("\n") if path.exists() else ""

    def write(self, name: str, text: str) -> None:
        """Write a file in place, so that a container that has mounted it sees the new text."""
        path = self.path / name
        if self.read(name) != text:
            path.touch(mode=0o600)
            path.chmod(0o600)
            path.write_text(text + "\n", encoding="utf-8")
        if os.getuid() == 0:
            os.chown(path, STENTOR_ID, STENTOR_ID)
            path.chmod(0o440)
        else:
            # The containers' user is somebody else, to whom only root could give it. The folder keeps others out.
            path.chmod(0o444)

    def made(self, name: str, text: str) -> str:
        """What the file says; it is made with this text unless it is there."""
        self.write(name, self.read(name) or text)
        return self.read(name)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        (self.path / name).unlink(missing_ok=True)


def token() -> str:
    """A new password: letters, digits, - and _, so that it needs no quoting anywhere."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def redis_url(user: str) -> str:
    """A URL with a new password."""
    return f"redis://{user}:{token()}@redis:6379/0"


def password_of(text: str) -> str:
    """The password in a file: that of a URL, or the whole of it."""
    return urlsplit(text).password or "" if "://" in text else text


def hashed(*passwords: str) -> str:
    """Passwords as an ACL file has them: by their SHA-256."""
    return " ".join(f"#{hashlib.sha256(one.encode()).hexdigest()}" for one in passwords if one)


def make(folder: Folder) -> None:
    """Make what is missing, and write anew what follows from it."""
    passwords: dict[str, str] = {}
    for user, name in FILES.items():
        made = folder.made(name, redis_url(user) if user in USERS else token())
        passwords[user] = hashed(password_of(made), password_of(folder.read(f"{name}.old")))
    folder.write("redis_admin_password", password_of(folder.read(FILES["admin"])))
    acl = (HERE / "redis" / "users.acl.template").read_text(encoding="utf-8")
    folder.write("users.acl", acl_file(acl, passwords))

    keys = {
        name: folder.made(f"s3_{name}", token())
        for name in ("access_key", "secret_key", "admin_access_key", "admin_secret_key")
    }
    folder.write("s3_identities.json", identities(keys))
    internal = folder.made("s3_internal_key", token())
    folder.write("s3_security.toml", security(internal))

    folder.made("grafana_admin_password", token())
    folder.made("flower_auth", f"operator:{token()}")


def acl_file(template: str, passwords: dict[str, str]) -> str:
    """The template with its passwords, and without comments and breaks of lines, which Redis does not allow."""
    lines = [line for line in template.splitlines() if line.strip() and not line.startswith("#")]
    words: dict[str, str] = dict(passwords)
    users: list[str] = []
    for line in lines:
        if line.startswith("let "):
            _, name, meaning = line.split(maxsplit=2)
            words[name] = meaning
        elif line.startswith("user "):
            users.append(line)
        else:
            users[-1] += f" {line.strip()}"
    return "\n".join(line.format(**words) for line in users)


def identities(keys: dict[str, str]) -> str:
    """Who may do what in SeaweedFS: the rooms use the bucket, and only the one that makes it may do more."""
    bucket = os.environ.get("STENTOR_S3_BUCKET", "stentor")
    rooms = {
        "name": "stentor",
        "credentials": [{"accessKey": keys["access_key"], "secretKey": keys["secret_key"]}],
        "actions": [f"{action}:{bucket}" for action in ("Read", "Write", "List", "Tagging")],
    }
    admin = {
        "name": "admin",
        "credentials": [{"accessKey": keys["admin_access_key"], "secretKey": keys["admin_secret_key"]}],
        "actions": ["Admin"],
    }
    return json.dumps({"identities": [rooms, admin]}, indent=2)


def security(key: str) -> str:
    """Signing keys of SeaweedFS's own servers, without which they would give any object to whoever asks."""
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    return "\n".join(f'[{section}]\nkey = "{key}"' for section in sections)


def rotate(folder: Folder, user: str) -> None:
    """Give a user of Redis a second password; its file has the new one."""
    name = FILES[user]
    old = folder.read(name)
    password = password_of(old)
    if not password:
        sys.exit(f"{name} has no password to rotate; run {Path(__file__).name} first")
    if folder.read(f"{name}.old"):
        sys.exit(f"{name}.old is still there: restart who uses it, and `retire` it first")
    folder.write(f"{name}.old", old)
    folder.write(name, old.replace(password, token()))


def join(folder: Folder, host: str, out: Folder) -> None:
    """What another GPU host needs: secrets of workers and schedulers alone, and whom to trust."""
    for user in ("worker", "scheduler"):
        url = folder.read(f"redis_url_{user}")
        out.write(f"redis_url_{user}", url.replace("redis://", "rediss://").replace("@redis:6379", f"@{host}:6380"))
    for name in ("s3_access_key", "s3_secret_key"):
        out.write(name, folder.read(name))
    out.write("cluster_ca.pem", (HERE / "tls" / "cluster_ca.pem").read_text(encoding="utf-8").rstrip("\n"))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE / "secrets", help="where the files are")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("rotate").add_argument("user", choices=FILES)
    commands.add_parser("retire")
    commands.add_parser("join").add_argument("host")
    asked = parser.parse_args()
    folder = Folder(asked.folder)
    if asked.command == "rotate":
        rotate(folder, asked.user)
    if asked.command == "retire":
        for name in FILES.values():
            folder.remove(f"{name}.old")
    make(folder)
    if asked.command == "join":
        join(folder, asked.host, Folder(HERE / "join"))


if __name__ == "__main__":
    main()
