"""`/v1/devices`: what there is to speak on, and orders to it."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from api.auth import scoped
from api.schemas import DeviceOut, DevicePath, DevicesOut, NoQuery
from api.services import services
from stentor.access import ADMIN
from stentor.devices import device_id
from stentor.doorbell import LOAD, UNLOAD

blueprint = APIBlueprint("catalogue", __name__, url_prefix="/v1", abp_security=[{"key": []}])
blueprint.before_request(scoped(write=ADMIN))
_DEVICES = [Tag(name="devices")]


@blueprint.get("/devices", tags=_DEVICES, responses={200: DevicesOut})
def list_devices(query: NoQuery) -> dict[str, Any]:
    """List the devices and what each does."""
    return DevicesOut(devices=[DeviceOut.of(status) for status in services().devices.list()]).model_dump(mode="json")


@blueprint.post("/devices/<host>/<device>/unload", tags=_DEVICES, responses={202: DeviceOut})
def unload_device(path: DevicePath) -> tuple[dict[str, Any], int]:
    """Take the models off a device after its batch. Its next text brings one back."""
    return _order(UNLOAD, device_id(path.host, path.device))


@blueprint.post("/devices/<host>/<device>/load", tags=_DEVICES, responses={202: DeviceOut})
def load_device(path: DevicePath) -> tuple[dict[str, Any], int]:
    """Bring the default model onto a device."""
    return _order(LOAD, device_id(path.host, path.device))


def _order(task: str, device: str) -> tuple[dict[str, Any], int]:
    status = services().devices.get(device)
    services().doorbell.order(task, status.id)
    return DeviceOut.of(status).model_dump(mode="json"), 202
