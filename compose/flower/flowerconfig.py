"""Flower's configuration: its path behind nginx, its login, and no state on disk."""

from __future__ import annotations

import os
from pathlib import Path

address = "0.0.0.0"  # noqa: S104 - of a container, on a network that is internal
port = 5555
url_prefix = "flower"
basic_auth = [Path(os.environ["FLOWER_AUTH_FILE"]).read_text(encoding="utf-8").strip()]
persistent = False
