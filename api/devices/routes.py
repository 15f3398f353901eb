"""`/v1/devices`: the devices, orders to them, and overrides of the policy."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.devices.schemas import ClocksWish, DeviceOut, DevicePath, DevicesOut, DeviceWish
from api.devices.view import describe_devices
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
    """List the devices and their states."""
    return DevicesOut(devices=describe_devices(services().devices.list())).model_dump(mode="json")


@blueprint.post("/devices/<host>/<device>/unload", tags=_DEVICES, responses={202: DeviceOut})
def unload_device(path: DevicePath, body: DeviceWish) -> tuple[dict[str, Any], int]:
    """Unload the models of a device after its batch and keep them unloaded. A text loads one until it is spoken."""
    device = _store_override(path, residency=UNLOADED, for_s=body.for_s)
    services().doorbell.order(UNLOAD, device, why=BY_PERSON)
    return _device_response(device)


@blueprint.post("/devices/<host>/<device>/load", tags=_DEVICES, responses={202: DeviceOut})
def load_device(path: DevicePath, body: DeviceWish) -> tuple[dict[str, Any], int]:
    """Load the default model onto a device and keep it there, also during windows."""
    device = _store_override(path, residency=RESIDENT, for_s=body.for_s)
    services().doorbell.order(LOAD, device)
    return _device_response(device)


@blueprint.post("/devices/<host>/<device>/clocks", tags=_DEVICES, responses={202: DeviceOut})
def set_clocks(path: DevicePath, body: ClocksWish) -> tuple[dict[str, Any], int]:
    """Set the clocks of a device to low or normal, or leave them to the policy (`auto`)."""
    return _device_response(_store_override(path, clocks=body.clocks, for_s=body.for_s))


@blueprint.post("/devices/<host>/<device>/auto", tags=_DEVICES, responses={202: DeviceOut})
def leave_to_policy(path: DevicePath) -> tuple[dict[str, Any], int]:
    """Leave the models and clocks of a device to the policy again."""
    return _device_response(_store_override(path, residency=AUTO, clocks=AUTO))


def _store_override(
    path: DevicePath, *, residency: str | None = None, clocks: str | None = None, for_s: float | None = None
) -> str:
    """Store the override of the request's key; returns the id of the device."""
    device = services().devices.get(device_id(path.host, path.device)).id
    services().overrides.put(device, residency=residency, clocks=clocks, by=key().name, for_s=for_s)
    return device


def _device_response(device: str) -> tuple[dict[str, Any], int]:
    (out,) = describe_devices([services().devices.get(device)])
    return out.model_dump(mode="json"), 202
