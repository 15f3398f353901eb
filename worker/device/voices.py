"""Telling the API which voices there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import redis

from stentor import log
from stentor.devices.registry import DeviceRegistry
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.voices.voice import Voice
from worker.engines.contract import Engine

_log = log.get(__name__)


def voices_of(engines: Iterable[Engine]) -> list[Voice]:
    """The voices of these models, each with the word whether its model clones.

    By them the API knows which models clone; so a model that does needs at least one voice of its own.
    """
    return [dataclasses.replace(voice, cloning=engine.info.cloning) for engine in engines for voice in engine.voices]


def register_voices(client: redis.Redis, devices: DeviceRegistry, voices: Iterable[Voice], *, device_id: str) -> None:
    """Say that this device speaks these voices and no others; what no device speaks any more is forgotten.

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
