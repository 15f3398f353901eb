"""Errors of the embedded stack."""

from __future__ import annotations

from stentor.errors import ConfigurationError, UnavailableError


class DataDirUnusable(ConfigurationError):
    """The data directory cannot be created, read or written, or another program uses it."""


class DataDirLocked(ConfigurationError):
    """Another ``stentor up`` uses this data directory."""


class PortTaken(ConfigurationError):
    """Another process listens on this port."""


class ProcessFailed(UnavailableError):
    """A process of the stack did not start in time, or crashed repeatedly."""
