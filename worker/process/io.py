"""What an io worker's processes do in addition to Celery's tasks: feed bulks into the lanes and deliver webhooks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from stentor.settings import Settings
from worker.bulks.feeder import Feeder
from worker.webhooks.dispatcher import WebhookDispatcher


class Service(Protocol):
    """Work in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End in order."""


class IoServices:
    """The services of one process. All processes of all io workers have them, and agree which one acts."""

    def __init__(self, settings: Settings) -> None:
        self._services: tuple[Service, ...] = (Feeder(settings), WebhookDispatcher(settings))

    def start(self) -> None:
        """Begin."""
        for service in self._services:
            service.start()

    def stop(self) -> None:
        """End in order, all services at the same time."""
        with ThreadPoolExecutor(len(self._services)) as pool:
            for done in [pool.submit(service.stop) for service in self._services]:
                done.result()
