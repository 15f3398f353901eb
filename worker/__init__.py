"""Celery room: claims jobs, packs batches, speaks, stores and settles."""
