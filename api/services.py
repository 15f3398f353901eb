"""What the endpoints use: created once per process by the factory, found through the current app."""

from __future__ import annotations

import dataclasses

import redis
from flask import current_app

from api.http.idempotency_records import IdempotencyStore
from api.http.key_memory import KeyMemory
from api.http.rate_counter import RateCounter
from api.waiting.outcomes import Outcomes
from api.waiting.slots import WaitSlots
from stentor.bill import BillStore
from stentor.bulks.manifest import Results
from stentor.bulks.store import BulkStore
from stentor.devices.clocks import ClocksBoard
from stentor.devices.overrides import OverrideStore
from stentor.devices.registry import DeviceRegistry
from stentor.doorbell import Doorbell, create_celery
from stentor.jobs.store import Backlog, JobStore
from stentor.owners.access import KeyStore
from stentor.owners.usage import UsageStore
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from stentor.voices.directory import VoiceDirectory
from stentor.voices.recording_store import RecordingStore
from stentor.webhooks.store import WebhookStore

#: Timeout of one attempt to reach Redis, in seconds. There are two, so a request is refused after 8 s if Redis hangs.
ANSWER_TIMEOUT_S = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Services:
    """The stores and clients behind the endpoints."""

    settings: Settings
    client: redis.Redis
    jobs: JobStore
    bulks: BulkStore
    results: Results
    backlog: Backlog
    storage: Storage
    doorbell: Doorbell
    voices: VoiceDirectory
    recordings: RecordingStore
    devices: DeviceRegistry
    overrides: OverrideStore
    clocks: ClocksBoard
    api_keys: KeyMemory
    key_store: KeyStore
    rates: RateCounter
    usage: UsageStore
    bill: BillStore
    idempotency: IdempotencyStore
    outcomes: Outcomes
    wait_slots: WaitSlots
    webhooks: WebhookStore

    @classmethod
    def connect(cls, settings: Settings, *, threads: int) -> Services:
        """Services that use the Redis and S3 of the settings; they connect when the first request needs it."""
        client = connect(settings, retries=1, answer_timeout_s=ANSWER_TIMEOUT_S)
        storage = Storage(settings)
        key_store = KeyStore(client)
        bulks = BulkStore(client, retention_s=settings.retention_s, replicas=settings.redis_replicas)
        return cls(
            settings=settings,
            client=client,
            jobs=JobStore(client, retention_s=settings.retention_s, replicas=settings.redis_replicas),
            bulks=bulks,
            results=Results(bulks, storage),
            backlog=Backlog(client, lease_s=settings.lease_s),
            storage=storage,
            doorbell=Doorbell(create_celery(settings), client),
            voices=VoiceDirectory(client),
            recordings=RecordingStore(client),
            devices=DeviceRegistry(client, lease_s=settings.lease_s),
            overrides=OverrideStore(client),
            clocks=ClocksBoard(client),
            api_keys=KeyMemory(key_store),
            key_store=key_store,
            rates=RateCounter(client),
            usage=UsageStore(client),
            bill=BillStore(client),
            idempotency=IdempotencyStore(client, keep_s=settings.idempotency_s),
            outcomes=Outcomes(client),
            wait_slots=WaitSlots(threads),
            webhooks=WebhookStore(client, keep_s=settings.webhook_keep_s),
        )


def services() -> Services:
    """The services of the app that handles the current request."""
    found: Services = current_app.extensions["stentor"]
    return found
