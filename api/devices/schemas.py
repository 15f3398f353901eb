"""Devices over HTTP, as pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stentor.devices.clocks import ClocksReport
from stentor.devices.overrides import Override
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.speech import OneOf
from stentor.times import utc_time


class OverrideOut(BaseModel):
    """What a person ordered for a device. It overrides the policy."""

    residency: Literal["auto", "resident", "unloaded"]
    clocks: Literal["auto", "low", "normal"]
    by: str = Field(description="The name of the API key that ordered it.")
    at: datetime
    expires_at: datetime | None = Field(description="When the order expires; null for never.")

    @classmethod
    def of(cls, override: Override) -> OverrideOut:
        """The override as clients see it."""
        times = {"at": utc_time(override.at), "expires_at": utc_time(override.expires_at)}
        return cls.model_validate({**vars(override), **times})


_TIMES = ("started_at", "seen_at", "loaded_at", "spoke_at")


class DeviceOut(BaseModel):
    """The last report of a device, and what people and the policy ordered for it."""

    id: str
    pid: int
    state: Annotated[DeviceState, OneOf(DeviceState)]
    model: str | None
    models: list[str]
    started_at: datetime
    seen_at: datetime
    loaded_at: datetime | None = Field(description="When the resident model was loaded; null without a model.")
    load_s: float | None = Field(description="How long loading took, in seconds.")
    spoke_at: datetime | None = Field(description="When this process last spoke.")
    gpu: str | None = Field(description="The GPU's UUID, from NVML.")
    node: str | None = Field(description="The machine that the device is on, if `STENTOR_NODE` is set.")
    clocks: str | None = Field(description="`low`, `normal` or `unavailable`; null while no scheduler reports.")
    override: OverrideOut | None
    reason: str | None = Field(description="Why the policy keeps the model on the device or unloads it.")
    clocks_reason: str | None = Field(description="Why the clocks are low or normal, or will be.")
    error: str | None
    batches: int
    audio_s: float
    busy_s: float

    @classmethod
    def of(
        cls,
        status: DeviceStatus,
        *,
        override: Override | None = None,
        want: Mapping[str, Any] = MappingProxyType({}),
        clocks: ClocksReport | None = None,
    ) -> DeviceOut:
        """The device as clients see it, with what the schedulers report about it."""
        return cls.model_validate(
            {
                **vars(status),
                "models": list(status.models),
                **{
                    name: utc_time(getattr(status, name)) for name in ("started_at", "seen_at", "loaded_at", "spoke_at")
                },
                "override": override and OverrideOut.of(override),
                "reason": want.get("residency_reason"),
                "clocks": clocks and clocks.state,
                "clocks_reason": (clocks and clocks.reason) or want.get("clocks_reason"),
            }
        )


class DevicesOut(BaseModel):
    """All devices that ever reported."""

    devices: list[DeviceOut]


class DeviceWish(BaseModel):
    """How long a device is to stay as it is ordered. The body may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    for_s: float | None = Field(
        None,
        gt=0,
        le=10 * 365 * 86_400,
        allow_inf_nan=False,
        description="How long the order holds, in seconds; null until the next order.",
    )


class ClocksWish(DeviceWish):
    """How the clocks of a device are to be."""

    clocks: Literal["low", "normal", "auto"]


class DevicePath(BaseModel):
    """The device in a path: both parts of its id."""

    host: str = Field(description="The machine it is in.")
    device: str = Field(description="Its name there: `cpu`, `cuda:0`.")
