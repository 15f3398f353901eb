"""Which voices the API knows follows what the devices say."""

from __future__ import annotations

import redis

from stentor.devices.registry import DeviceRegistry, DeviceState, DeviceStatus
from stentor.redis import keys
from stentor.voices.voice import Voice
from worker.device.voices import register_voices


def voice(name: str) -> Voice:
    return Voice(name=name, model=name.partition(":")[0], engine="tone", languages=("en",), sample_rate_hz=16_000)


def test_a_voice_that_no_device_has_any_more_is_forgotten(client: redis.Redis) -> None:
    devices = DeviceRegistry(client, lease_s=60)
    devices.report(DeviceStatus(id="b/cpu", pid=1, state=DeviceState.IDLE, models=("ann",), started_at=0, seen_at=0))
    register_voices(
        client, devices, [voice("ann"), voice("joe"), voice("many:one"), voice("many:two")], device_id="a/cpu"
    )
    register_voices(client, devices, [voice("joe"), voice("many:two")], device_id="a/cpu")
    assert sorted(map(str, client.hkeys(keys.VOICES))) == ["ann", "joe", "many:two"]
    register_voices(client, devices, [], device_id="a/cpu")
    assert sorted(map(str, client.hkeys(keys.VOICES))) == ["ann"]
