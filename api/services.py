"""What the endpoints work with: made once per process by the factory, found through the current app."""

from __future__ import annotations

import dataclasses

import redis
from flask import current_app

from api.key_memory import KeyMemory
from api.outcomes import Outcomes
from stentor.access import KeyStore
from stentor.devices import DeviceRegistry
from stentor.doorbell import Doorbell, create_celery
from stentor.recording_store import RecordingStore
from stentor.redis_client import connect
from stentor.settings import Settings
from stentor.storage import Storage
from stentor.store import JobStore
from stentor.voice_directory import VoiceDirectory

#: Seconds until Redis's answer is given up, twice before a request is refused: whoever asks waits no longer than 8 s
#: to be told that Redis hangs.
ANSWER_TIMEOUT_S = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Services:
    """Everything behind the endpoints."""

    settings: Settings
    client: redis.Redis
    jobs: JobStore
    storage: Storage
    doorbell: Doorbell
    voices: VoiceDirectory
    recordings: RecordingStore
    devices: DeviceRegistry
    api_keys: KeyMemory
    outcomes: Outcomes

    @classmethod
    def connect(cls, settings: Settings) -> Services:
        """Services on the settings' Redis and S3; nothing is sent before the first request needs it."""
        client = connect(settings, retries=1, answer_timeout_s=ANSWER_TIMEOUT_S)
        return cls(
            settings=settings,
            client=client,
            jobs=JobStore(client, retention_s=settings.retention_s),
            storage=Storage(settings),
            doorbell=Doorbell(create_celery(settings), client),
            voices=VoiceDirectory(client),
            recordings=RecordingStore(client),
            devices=DeviceRegistry(client, lease_s=settings.lease_s),
            api_keys=KeyMemory(KeyStore(client)),
            outcomes=Outcomes(client),
        )


def services() -> Services:
    """The services of the app that handles the current request."""
    found: Services = current_app.extensions["stentor"]
    return found
