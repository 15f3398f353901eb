"""Why a process refuses to start."""

from __future__ import annotations

from stentor.errors.base import ConfigurationError


class SettingUnknown(ConfigurationError):
    """A ``STENTOR_*`` variable that no process reads, most likely a typing error."""


class SettingInvalid(ConfigurationError):
    """A setting is missing or outside its range."""


class ProgramMissing(ConfigurationError):
    """A program that the embedded stack starts is not installed on this machine."""


class DeviceTaken(ConfigurationError):
    """Another live worker already uses the device of this name."""
