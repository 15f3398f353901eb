"""gunicorn's own log lines as events, like all others."""

from __future__ import annotations

import logging
import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from stentor import log
from stentor.settings import Settings


class JsonLogger(Logger):  # type: ignore[misc]
    """Passes gunicorn's lines to the root logger, which it configures before the first line."""

    def setup(self, cfg: Any) -> None:
        """Configure the loggers; ``cfg`` is gunicorn's configuration."""
        super().setup(cfg)
        log.configure(Settings.from_environ(os.environ), room="api")
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
        self.error_log.setLevel(logging.WARNING)
