"""`/healthz` and `/readyz`: whether the process answers, and whether a text sent now would be spoken now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.http.schemas import CheckOut, HealthOut, NoQuery, ReadyOut
from api.services import services
from stentor.devices.registry import LIVE
from stentor.errors import StentorError, UnavailableError
from stentor.redis.client import redis_errors

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])


@blueprint.get("/healthz", responses={200: HealthOut})
def healthz(query: NoQuery) -> dict[str, Any]:
    """Answer without asking other services."""
    return HealthOut().model_dump(mode="json")


@blueprint.get("/readyz", responses={200: ReadyOut, 503: ReadyOut})
def readyz(query: NoQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Check Redis, S3 and the devices."""
    checks = {"redis": _check(_redis), "storage": _check(_storage), "device": _check(_device)}
    ready = all(check.ok for check in checks.values())
    headers = {} if ready else {"Retry-After": f"{UnavailableError.retry_after_s:.0f}"}
    return ReadyOut(ready=ready, checks=checks).model_dump(mode="json"), 200 if ready else 503, headers


def _check(ask: Callable[[], CheckOut]) -> CheckOut:
    try:
        return ask()
    except StentorError as exc:
        return CheckOut(ok=False, detail=exc.detail)


def _redis() -> CheckOut:
    with redis_errors():
        services().client.ping()
    return CheckOut(ok=True, detail="answers")


def _storage() -> CheckOut:
    services().storage.check()
    return CheckOut(ok=True, detail=f"bucket {services().settings.s3_bucket} answers")


def _device() -> CheckOut:
    devices = services().devices.list()
    live = [status for status in devices if status.state in LIVE]
    return CheckOut(ok=bool(live), detail=f"{len(live)} of {len(devices)} devices take work")
