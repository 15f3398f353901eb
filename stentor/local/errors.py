"""What keeps the embedded stack from running; part of the tree in ``stentor.errors``.

ConfigurationError
├── DataDirUnusable     data_dir_unusable
├── DataDirLocked       data_dir_locked
└── PortTaken           port_taken
UnavailableError
└── ProcessFailed       process_failed
"""

from __future__ import annotations

from stentor.errors import ConfigurationError, UnavailableError


class DataDirUnusable(ConfigurationError):
    """The data directory cannot be made, read or written, or holds something that is not Stentor's."""

    code = "data_dir_unusable"


class DataDirLocked(ConfigurationError):
    """Another ``stentor up`` works in this data directory."""

    code = "data_dir_locked"


class PortTaken(ConfigurationError):
    """Somebody else listens on the port that was asked for."""

    code = "port_taken"


class ProcessFailed(UnavailableError):
    """A process of the stack did not come up in time, or died again and again."""

    code = "process_failed"
