"""Devices for the tests of the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from stentor.settings import Settings
from tests.support.speech.factories import ToneEngine
from tests.support.work.device import Bench
from worker.process.blackbox import BlackBox


@pytest.fixture
def make(client: redis.Redis, settings: Settings) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def build(
        engine: ToneEngine | None = None, name: str = "testhost/cpu", box: BlackBox | None = None, **changes: object
    ) -> Bench:
        changed = settings.model_copy(update={"merge_window_ms": 0, **changes})
        made.append(Bench(client, changed, engine or ToneEngine(), name, box=box or BlackBox()))
        return made[-1]

    yield build
    for bench in made:
        bench.drain.close()
        bench.finisher.abandon()
