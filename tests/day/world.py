"""A day in virtual time: arrivals, one device and the scheduler's ticks, in the order in which they come.

Everything is in one process, and the real Redis is asked each time; only the clock and the GPU are played. Between two
events nothing happens, so the day takes as long as its events take to work through.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import redis

from stentor.doorbell import Doorbell, create_celery
from stentor.jobs.job import Job, Priority, new_id
from stentor.jobs.lanes import Lane
from stentor.jobs.store import JobStore
from stentor.redis import keys
from stentor.redis.client import text_list, text_map
from stentor.settings import Settings
from stentor.speech import SpeechParams
from tests.day.device import Device
from tests.day.shapes import Arrival
from tests.day.waits import VirtualBacklog

OWNER = "day"
#: Jobs of one submission; the API takes no more.
LIST = 1000
#: Keys that expire while a day goes on: their lifetimes are made virtual by hand.
LEASES = (keys.LEADER, keys.HELD, keys.SWEEP_ASKED, keys.SWEEP_LOCK)


class World:
    """Virtual time, and what happens in it."""

    def __init__(self, client: redis.Redis, settings: Settings, *, began: float) -> None:
        self.now = began
        self.began = began
        self.submitted: list[Job] = []
        self.backlog = VirtualBacklog(client, lease_s=settings.lease_s, now=lambda: self.now)
        self._client = client
        self._store = JobStore(client, retention_s=settings.retention_s)
        self._doorbell = Doorbell(create_celery(settings), client)
        self._host = settings.host
        self._expired_at = began

    def run(
        self,
        device: Device,
        arrivals: Sequence[Arrival],
        tick: Callable[[], None],
        *,
        until: float,
        tick_s: float,
        at: Callable[[float], None],
    ) -> None:
        """Let time go on to ``until``. ``tick`` is called every ``tick_s`` and when the device wakes, ``at`` before
        whatever happens, with the time.
        """
        coming = list(reversed(arrivals))
        next_tick = self.now
        while True:
            arrives = self.began + coming[-1].at_s if coming else until
            then = min(arrives, device.due, next_tick, until)
            self.now = then
            at(then)
            if then >= until:
                break
            if coming and arrives <= then:
                self._submit(coming.pop(), device.models)
            if device.due <= then:
                device.go_on(then)
            device.hear(then)
            if next_tick <= then or self._woken():
                next_tick = next_tick + tick_s if next_tick <= then else next_tick
                device.beat(then)
                self._expire()
                tick()
                device.hear(then)
        device.beat(until)
        tick()
        device.close(until)

    def _woken(self) -> bool:
        """Whether a device tells that it works again: then the scheduler ticks at once."""
        return bool(self._client.delete(keys.wakes(self._host)))

    def _submit(self, arrival: Arrival, models: Sequence[str]) -> None:
        jobs = [self._job(text, arrival.priority, models[0]) for text in arrival.texts]
        for start in range(0, len(jobs), LIST):
            self.backlog.submits()
            self.submitted += self._store.submit(jobs[start : start + LIST], ring=self._doorbell.call)

    def _job(self, text: str, priority: str, model: str) -> Job:
        return Job(
            id=new_id(),
            owner=OWNER,
            text=text,
            speech=SpeechParams(voice=model),
            model=model,
            lane=Lane.of(model=model, priority=priority, text_chars=len(text)).key,
            priority=Priority(priority),
            created_at=self.now,
        )

    def _expire(self) -> None:
        """Let the virtual time since the last tick go by for what expires."""
        passed_s, self._expired_at = self.now - self._expired_at, self.now
        names = [*LEASES, *(keys.last_order(device) for device in text_list(self._client.smembers(keys.DEVICES)))]
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.pttl(name)
        left = [(name, ms) for name, ms in zip(names, pipe.execute(), strict=True) if ms > 0]
        for name, ms in left:
            pipe.pexpire(name, max(0, round(ms - passed_s * 1000)))
        if left:
            pipe.execute()


@contextlib.contextmanager
def quick_redis(client: redis.Redis) -> Iterator[None]:
    """Within, Redis does not wait for the disk at each write: nobody restarts it in a compressed day."""
    before = text_map(client.config_get("appendfsync"))["appendfsync"]
    client.config_set("appendfsync", "everysec")
    try:
        yield
    finally:
        client.config_set("appendfsync", before)
