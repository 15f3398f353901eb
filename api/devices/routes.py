"""`/v1/devices`: what there is to speak on, orders to it, and what people want of it whatever the policy says."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.devices.schemas import ClocksWish, DeviceOut, DevicePath, DevicesOut, DeviceWish
from api.devices.view import shown
from api.http.auth import authorize, key
from api.http.schemas import NoQuery
from api.services import services
from stentor.devices.overrides import AUTO, RESIDENT, UNLOADED
from stentor.devices.registry import device_id
from stentor.doorbell import BY_PERSON, LOAD, UNLOAD
from stentor.owners.access import ADMIN

blueprint = APIBlueprint("catalogue", __name__, url_prefix="/v1", abp_security=[{"key": []}])
blueprint.before_request(authorize(write=ADMIN))
_DEVICES = [Tag(name="devices")]


@blueprint.get("/devices", tags=_DEVICES, responses={200: DevicesOut})
def list_devices(query: NoQuery) -> dict[str, Any]:
    """List the devices and what each does."""
    return DevicesOut(devices=shown(services().devices.list())).model_dump(mode="json")


@blueprint.post("/devices/<host>/<device>/unload", tags=_DEVICES, responses={202: DeviceOut})
def unload_device(path: DevicePath, body: DeviceWish) -> tuple[dict[str, Any], int]:
    """Take the models off a device after its batch, and keep them off. A text brings one back, until it is spoken."""
    device = _override(path, residency=UNLOADED, for_s=body.for_s)
    services().doorbell.order(UNLOAD, device, why=BY_PERSON)
    return _now(device)


@blueprint.post("/devices/<host>/<device>/load", tags=_DEVICES, responses={202: DeviceOut})
def load_device(path: DevicePath, body: DeviceWish) -> tuple[dict[str, Any], int]:
    """Bring the default model onto a device, and keep it there, in windows too."""
    device = _override(path, residency=RESIDENT, for_s=body.for_s)
    services().doorbell.order(LOAD, device)
    return _now(device)


@blueprint.post("/devices/<host>/<device>/clocks", tags=_DEVICES, responses={202: DeviceOut})
def set_clocks(path: DevicePath, body: ClocksWish) -> tuple[dict[str, Any], int]:
    """Have the clocks of a device low or normal, whatever it does, or leave them to the policy (`auto`)."""
    return _now(_override(path, clocks=body.clocks, for_s=body.for_s))


@blueprint.post("/devices/<host>/<device>/auto", tags=_DEVICES, responses={202: DeviceOut})
def leave_to_policy(path: DevicePath) -> tuple[dict[str, Any], int]:
    """Leave a device to the policy again: its models and its clocks."""
    return _now(_override(path, residency=AUTO, clocks=AUTO))


def _override(
    path: DevicePath, *, residency: str | None = None, clocks: str | None = None, for_s: float | None = None
) -> str:
    """Note what the request's key wants of a device; its id."""
    device = services().devices.get(device_id(path.host, path.device)).id
    services().overrides.put(device, residency=residency, clocks=clocks, by=key().name, for_s=for_s)
    return device


def _now(device: str) -> tuple[dict[str, Any], int]:
    (out,) = shown([services().devices.get(device)])
    return out.model_dump(mode="json"), 202
