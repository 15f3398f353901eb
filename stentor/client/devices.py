"""The part of the client for devices and the bill."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from stentor.client.transport import Transport, without_none


class DeviceCalls:
    """Calls for devices and the bill."""

    http: Transport

    def devices(self) -> list[dict[str, Any]]:
        """All devices."""
        return cast("list[dict[str, Any]]", self.http.request("GET", "/v1/devices").json()["devices"])

    def load(self, device_id: str, *, for_s: float | None = None) -> None:
        """Order a device to load its model and keep it, for ``for_s`` seconds or until ``leave_to_policy``."""
        self._order(device_id, "load", for_s=for_s)

    def unload(self, device_id: str, *, for_s: float | None = None) -> None:
        """Order a device to unload its model, now and whenever no text waits for it."""
        self._order(device_id, "unload", for_s=for_s)

    def set_clocks(self, device_id: str, clocks: str, *, for_s: float | None = None) -> None:
        """Order the clocks of a device: ``low``, ``normal``, or ``auto`` (left to the policy)."""
        self._order(device_id, "clocks", clocks=clocks, for_s=for_s)

    def leave_to_policy(self, device_id: str) -> None:
        """Cancel the orders to a device."""
        self._order(device_id, "auto")

    def _order(self, device_id: str, order: str, **fields: Any) -> None:
        self.http.request(
            "POST", f"/v1/devices/{quote(device_id, safe='/:')}/{order}", json=without_none(fields) or None
        )

    def cost(self, **parameters: Any) -> dict[str, Any]:
        """The bill. Parameters of the API: ``since``, ``until``, ``price_kwh``, ``price_gpu_hour``, ``slots``."""
        return cast("dict[str, Any]", self.http.request("GET", "/v1/cost", params=without_none(parameters)).json())
