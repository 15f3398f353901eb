"""The Celery app for Flower: its broker URL is in a secret file, and its keys have Stentor's prefix."""

from __future__ import annotations

import os
from pathlib import Path

import celery

app = celery.Celery("stentor", broker=Path(os.environ["STENTOR_REDIS_URL_FILE"]).read_text(encoding="utf-8").strip())
app.conf.broker_transport_options = {"global_keyprefix": "stentor:celery:"}
