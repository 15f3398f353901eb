#!/usr/bin/env python3
"""Make the secret files of compose.yaml, each once. It needs only Python 3.

  make_secrets.py                make missing files; existing files stay
  make_secrets.py rotate NAME    add a second password for a user of Redis: api, worker, io, ...
  make_secrets.py retire         remove the old passwords of Redis
  make_secrets.py join HOST      make the folder join/ for another GPU host, which reaches this one as HOST

Each password is in one file. `users.acl` and S3's files are written again from those each time. Redis reads the new
`users.acl` with `ACL LOAD` (docs/howto/rotate-secrets.md). For another Redis or S3, put its files here by hand first.
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
#: The user of Stentor's images. Every container that reads secrets has its group.
STENTOR_ID = 1001
#: Users of Redis that have a URL, each in a file of its own.
USERS = ("admin", "api", "worker", "io", "scheduler", "flower")
#: The file with each user's password: a URL, except for the user of Redis's own health check.
FILES = {**{user: f"redis_url_{user}" for user in USERS}, "health": "redis_health_password"}
TOKEN_BYTES = 32


class Folder:
    """The folder of secret files. Only its owner can read it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        self.path = path

    def read(self, name: str) -> str:
        """The text of a file without its line end; empty if the file does not exist."""
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
            # Only root could give the file to the containers' user. The folder's mode keeps other users out.
            path.chmod(0o444)

    def read_or_create(self, name: str, text: str) -> str:
        """The text of the file. It is created with this text if it does not exist."""
        self.write(name, self.read(name) or text)
        return self.read(name)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        (self.path / name).unlink(missing_ok=True)


def token() -> str:
    """A new password: letters, digits, - and _, so that it needs no quoting anywhere."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def redis_url(user: str) -> str:
    """A URL with a new password."""
    return f"redis://{user}:{token()}@redis:6379/0"


def password_of(text: str) -> str:
    """The password in a file: the one in the URL, or the whole text."""
    return urlsplit(text).password or "" if "://" in text else text


def acl_hashes(*passwords: str) -> str:
    """The SHA-256 of each password, in the form of an ACL file."""
    return " ".join(f"#{hashlib.sha256(one.encode()).hexdigest()}" for one in passwords if one)


def make(folder: Folder) -> None:
    """Make missing files, and write the files that are derived from them."""
    passwords: dict[str, str] = {}
    for user, name in FILES.items():
        text = folder.read_or_create(name, redis_url(user) if user in USERS else token())
        passwords[user] = acl_hashes(password_of(text), password_of(folder.read(f"{name}.old")))
    folder.write("redis_admin_password", password_of(folder.read(FILES["admin"])))
    acl = (HERE / "redis" / "users.acl.template").read_text(encoding="utf-8")
    folder.write("users.acl", acl_file(acl, passwords))

    keys = {
        name: folder.read_or_create(f"s3_{name}", token())
        for name in ("access_key", "secret_key", "admin_access_key", "admin_secret_key")
    }
    folder.write("s3_identities.json", identities(keys))
    internal = folder.read_or_create("s3_internal_key", token())
    folder.write("s3_security.toml", security(internal))

    folder.read_or_create("grafana_admin_password", token())
    folder.read_or_create("flower_auth", f"operator:{token()}")


def acl_file(template: str, passwords: dict[str, str]) -> str:
    """The template with its passwords, without comments and line breaks, which Redis does not allow."""
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
    """The rights in SeaweedFS: services use the bucket, and only the container that creates it may do more."""
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
    """Signing keys of SeaweedFS's own servers. Without them they would give any object to any client."""
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    return "\n".join(f'[{section}]\nkey = "{key}"' for section in sections)


def rotate(folder: Folder, user: str) -> None:
    """Add a second password for a user of Redis, and write it into the user's file."""
    name = FILES[user]
    old = folder.read(name)
    password = password_of(old)
    if not password:
        sys.exit(f"{name} has no password to rotate. Run {Path(__file__).name} first.")
    if folder.read(f"{name}.old"):
        sys.exit(f"{name}.old still exists. Restart the services that use it, and run `retire` first.")
    folder.write(f"{name}.old", old)
    folder.write(name, old.replace(password, token()))


def join(folder: Folder, host: str, out: Folder) -> None:
    """Make the files that another GPU host needs: secrets of workers and schedulers, and the authority to trust."""
    for user in ("worker", "scheduler"):
        url = folder.read(f"redis_url_{user}")
        out.write(f"redis_url_{user}", url.replace("redis://", "rediss://").replace("@redis:6379", f"@{host}:6380"))
    for name in ("s3_access_key", "s3_secret_key"):
        out.write(name, folder.read(name))
    out.write("cluster_ca.pem", (HERE / "tls" / "cluster_ca.pem").read_text(encoding="utf-8").rstrip("\n"))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE / "secrets", help="The folder of the files.")
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
