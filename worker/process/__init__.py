"""Processes of a worker: Celery's pool, the io services, the guard of a forward pass."""
