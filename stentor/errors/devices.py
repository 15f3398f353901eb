"""What is wrong with a device or its GPU."""

from __future__ import annotations

from stentor.errors.base import GpuError, NotFoundError


class DeviceNotFound(NotFoundError):
    """No device has this id."""


class NvmlUnavailable(GpuError):
    """This machine has no NVML, or it does not answer."""


class GpuLost(GpuError):
    """A GPU no longer answers."""


class ClocksRefused(GpuError):
    """The driver does not set the clocks: the rights are missing, or this GPU does not support it."""

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        #: Whether the driver will refuse the next time, too.
        self.for_good = for_good
