"""What the endpoints work with: made once per process by the factory, found through the current app."""

from __future__ import annotations

import dataclasses
import threading
import time

import redis
from flask import current_app

from api.outcomes import Outcomes
from stentor import keys
from stentor.access import KeyStore
from stentor.devices import DeviceRegistry
from stentor.doorbell import Doorbell, create_celery
from stentor.errors import VoicesUnknown, VoiceUnknown
from stentor.redis_client import connect, redis_errors, text_map
from stentor.settings import Settings
from stentor.storage import Storage
from stentor.store import JobStore
from stentor.voice import Voice

#: How long the voices that workers registered are believed without looking again, in seconds.
VOICES_GOOD_FOR_S = 2.0
#: Seconds until Redis's answer is given up, twice before a request is refused: whoever asks waits no longer than 8 s
#: to be told that Redis hangs.
ANSWER_TIMEOUT_S = 4.0


class VoiceDirectory:
    """The voices that workers registered, remembered for a moment. Safe for threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._voices: dict[str, Voice] = {}
        self._read_at = float("-inf")

    def all(self) -> list[Voice]:
        """All voices by name.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        return [voice for _, voice in sorted(self._known(VOICES_GOOD_FOR_S).items())]

    def get(self, name: str) -> Voice:
        """The voice of that name.

        Raises:
            VoiceUnknown: no model has it.
            VoicesUnknown: no worker has registered any voice yet.
            RedisUnavailable: Redis does not answer.
        """
        voice = self._known(VOICES_GOOD_FOR_S).get(name) or self._known(0).get(name)
        if voice is None and not self._voices:
            raise VoicesUnknown("no worker has registered a voice yet; start one, then try again")
        if voice is None:
            raise VoiceUnknown(f"there is no voice {name!r}; GET /v1/voices lists the {len(self._voices)} there are")
        return voice

    def _known(self, good_for_s: float) -> dict[str, Voice]:
        with self._lock:
            if time.monotonic() - self._read_at >= good_for_s:
                with redis_errors():
                    lines = text_map(self._client.hgetall(keys.VOICES))
                self._voices = {name: Voice.from_json(line) for name, line in lines.items()}
                self._read_at = time.monotonic()
            return self._voices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Services:
    """Everything behind the endpoints."""

    settings: Settings
    client: redis.Redis
    jobs: JobStore
    storage: Storage
    doorbell: Doorbell
    voices: VoiceDirectory
    devices: DeviceRegistry
    api_keys: KeyStore
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
            devices=DeviceRegistry(client, lease_s=settings.lease_s),
            api_keys=KeyStore(client),
            outcomes=Outcomes(client),
        )


def services() -> Services:
    """The services of the app that handles the current request."""
    found: Services = current_app.extensions["stentor"]
    return found
