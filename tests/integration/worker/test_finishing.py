"""Audio that cannot be stored yet is bounded, and loudness is what was asked for."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest
import soundfile

from stentor.storage.s3 import Storage
from tests.support.speech.factories import ToneEngine, a_job
from tests.support.stacks.stack import eventually
from tests.support.work.device import Bench
from worker.finishing import finisher, quality


def test_a_device_stops_to_speak_when_too_much_audio_waits_for_s3_and_loses_nothing(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four texts of 1 s at 16 kHz in float32 are 256 kB.
    monkeypatch.setattr(finisher, "UNSTORED_BYTES", 256_000)
    away = make(ToneEngine(budget=20), s3_endpoint="http://127.0.0.1:9")
    jobs = away.submit(*[a_job(f"Ten chars{number}") for number in range(9)])
    drain = threading.Thread(target=away.drain.run)
    drain.start()
    eventually(lambda: len(away.finisher.jobs) >= 4)
    eventually(lambda: not away.finisher.wait_for_room(0.5))
    # The batch that was running when the room ran out is still taken in.
    assert sum(map(len, away.engine.batches)) <= 6
    away.stopping.set()
    drain.join(30)
    assert not drain.is_alive()
    away.finisher.abandon()
    assert {away.now(job).state for job in jobs} <= {"running", "queued"}
    back = make(ToneEngine(budget=20))
    back.run()
    assert {back.now(job).state for job in jobs} == {"succeeded"}


def test_all_audio_is_brought_to_one_loudness_where_that_is_set(make: Callable[..., Bench], storage: Storage) -> None:
    bench = make(loudness_lufs=-20.0)
    (job,) = bench.submit(a_job("A tone that is louder than that."))
    bench.run()
    done = bench.now(job)
    assert done.quality is not None
    assert done.quality["loudness_lufs"] == pytest.approx(-20, abs=0.1)
    assert done.audio_key is not None
    samples, rate_hz = soundfile.read(io.BytesIO(storage.get(done.audio_key)), dtype="float32")
    assert quality.loudness_lufs(samples, rate_hz) == pytest.approx(-20, abs=0.1)
