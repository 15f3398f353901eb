"""The app that Celery finds: ``celery --app=worker.app:app``."""

import os

from worker.process.celery_app import create_app

app = create_app(os.environ)
