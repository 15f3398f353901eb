"""gunicorn's own log lines, as events like all others."""

from __future__ import annotations

import logging
import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from stentor import log
from stentor.settings import Settings


class JsonLogger(Logger):  # type: ignore[misc]
    """Hands what gunicorn says to the root logger, which is set up with the first line that this process may say."""

    def setup(self, cfg: Any) -> None:
        """Set it up; ``cfg`` is gunicorn's."""
        super().setup(cfg)
        log.configure(Settings.from_environ(os.environ), room="api")
        for said in (self.error_log, self.access_log):
            said.handlers.clear()
            said.propagate = True
        self.error_log.setLevel(logging.WARNING)
