"""The simulated engine: its curves against the figures they come from, its clock, its memory, and who may have it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stentor.errors import EngineFailed, OutOfMemory, SettingInvalid
from stentor.settings import Settings
from tests.support.speech.factories import a_job
from worker.engines.contract import Segment, Speech, Utterance
from worker.engines.discovery import find_engines
from worker.engines.simulated import SimulatedFamily
from worker.engines.simulated.engine import SimulatedEngine
from worker.engines.simulated.gpus import GPUS


def loaded(gpu: str = "l4", *, scale: float = 1.0) -> tuple[SimulatedEngine, list[float]]:
    """An engine whose sleeps are written down instead of slept."""
    slept: list[float] = []
    engine = SimulatedEngine(GPUS[gpu], scale=scale, sleep=slept.append)
    engine.load("cpu", None)
    return engine, slept


def rows(engine: SimulatedEngine, *texts: str, seed: int = 0) -> list[Utterance]:
    return [engine.prepare(Segment.of(text, engine.voices[0], seed=seed)) for text in texts]


def test_nobody_gets_it_who_does_not_ask() -> None:
    assert SimulatedFamily(Settings()).engines() == {}
    assert list(find_engines(Settings())) == ["joe"]


def test_who_asks_finds_it_beside_the_others_and_not_as_the_default() -> None:
    settings = Settings(simulated="l4*10")
    assert sorted(find_engines(settings)) == ["joe", "simulated-l4"]
    assert settings.default_voice == "joe"


@pytest.mark.parametrize("wanted", ["h100", "l4*0"])
def test_a_gpu_that_cannot_be_simulated_is_refused(wanted: str) -> None:
    with pytest.raises(SettingInvalid, match=r"one of a100, l4, t4, v100"):
        SimulatedFamily(Settings(simulated=wanted)).engines()


@pytest.mark.parametrize("wanted", ["l4*", "l4*-1", "l4 10", "L4", ""])
def test_a_setting_of_another_form_is_refused(wanted: str) -> None:
    with pytest.raises(SettingInvalid, match="STENTOR_SIMULATED"):
        Settings.from_environ({"STENTOR_SIMULATED": wanted})


@pytest.mark.parametrize(
    ("gpu", "batch", "longest", "published_s"),
    [
        # samples / (samples per second) of NVIDIA's table: 8.05 s at 22050 Hz a row, 693 mel frames
        ("a100", 1, 693, 0.0199),
        ("a100", 2, 693, 0.0301),
        ("a100", 4, 693, 0.0466),
        ("a100", 8, 693, 0.0856),
        ("v100", 1, 693, 0.0351),
        ("v100", 4, 693, 0.0876),
        ("v100", 8, 693, 0.1495),
        ("t4", 1, 693, 0.0626),
        ("t4", 4, 693, 0.2215),
        ("t4", 8, 693, 0.4298),
        # 5.09 s of audio a row / (times real time), 64 codec frames
        ("l4", 1, 64, 2.400),
        ("l4", 4, 64, 2.913),
        ("l4", 8, 64, 3.544),
        ("l4", 16, 64, 4.909),
    ],
)
def test_curves_keep_to_the_published_figures(gpu: str, batch: int, longest: int, published_s: float) -> None:
    assert GPUS[gpu].batch_s(longest, batch) == pytest.approx(published_s, rel=0.06)


@pytest.mark.parametrize(("batch", "published_gb"), [(1, 2.7), (4, 3.5), (8, 4.0), (16, 5.0)])
def test_memory_keeps_to_the_published_figures(batch: int, published_gb: float) -> None:
    assert GPUS["l4"].batch_bytes(64, batch) / 1e9 == pytest.approx(published_gb, rel=0.1)


@pytest.mark.parametrize("gpu", GPUS.values(), ids=lambda gpu: gpu.name)
def test_a_whole_budget_fits_into_memory(gpu: object) -> None:
    engine, _ = loaded(gpu.name)  # type: ignore[attr-defined]
    longest = engine.prepare(Segment.of("x" * engine.info.segment_chars, engine.voices[0])).cost
    assert GPUS[gpu.name].batch_bytes(1, engine.info.budget) < GPUS[gpu.name].memory_bytes  # type: ignore[attr-defined]
    assert longest < engine.info.budget


def test_a_batch_takes_as_long_as_its_padded_length_costs() -> None:
    engine, slept = loaded()
    engine.synthesize(rows(engine, "x" * 128, "x" * 16))
    # 8.05 s are 101 frames: 101 x 0.0351 + 2 x 101 x 0.00263, less what the tones took
    assert slept[0] == pytest.approx(4.076, abs=0.2)
    assert slept[0] < 4.077


def test_its_clock_can_run_faster() -> None:
    engine, slept = loaded(scale=100)
    engine.synthesize(rows(engine, "x" * 128, "x" * 16))
    assert slept[0] < 0.0408


def test_it_really_waits() -> None:
    engine = SimulatedEngine(GPUS["l4"], scale=100)
    engine.load("cpu", None)
    began_s = time.monotonic()
    engine.synthesize(rows(engine, "x" * 128))
    assert time.monotonic() - began_s >= 0.038


def test_audio_is_as_long_as_the_text_and_loud_enough_for_speech() -> None:
    engine, _ = loaded("a100")
    (answer,) = engine.synthesize(rows(engine, "x" * 128))
    assert isinstance(answer, Speech)
    assert engine.info.sample_rate_hz == 8000
    assert answer.samples.dtype == np.float32
    assert len(answer.samples) / 8000 == pytest.approx(8.05, abs=0.01)
    assert 0.3 < float(np.abs(answer.samples).max()) <= 0.5


def test_a_faster_voice_is_shorter() -> None:
    engine, _ = loaded()
    fast = engine.prepare(Segment.of("x" * 128, engine.voices[0], speed=2.0))
    assert [row.cost for row in (*rows(engine, "x" * 128, "x"), fast)] == [101, 1, 50]


def test_audio_depends_on_text_and_seed_and_not_on_company() -> None:
    engine, _ = loaded()
    alone = engine.synthesize(rows(engine, "Good morning."))[0]
    beside = engine.synthesize(rows(engine, "Good evening, everybody.", "Good morning."))
    other = engine.synthesize(rows(engine, "Good morning.", seed=1))[0]
    assert isinstance(alone, Speech)
    assert isinstance(other, Speech)
    assert isinstance(beside[1], Speech)
    assert np.array_equal(beside[1].samples, alone.samples)
    assert not np.array_equal(other.samples, alone.samples)


def test_a_batch_that_does_not_fit_runs_out_of_memory() -> None:
    engine, slept = loaded()
    row = rows(engine, "x" * 128)
    # (23 GB - 2.547 GB) / 2.41 MB are 8486 frames: 84 rows of 101
    assert len(engine.synthesize(row * 84)) == 84
    with pytest.raises(OutOfMemory, match=r"85 rows of 101 frames take 23236850000 bytes on l4; it has 23000000000"):
        engine.synthesize(row * 85)
    assert len(slept) == 1


def test_a_limit_makes_the_memory_smaller() -> None:
    engine, _ = loaded()
    engine.load("cpu", 3_000_000_000)
    with pytest.raises(OutOfMemory):
        engine.synthesize(rows(engine, "x" * 128) * 2)
    with pytest.raises(EngineFailed, match="takes 2547000000 bytes on cpu before it speaks"):
        engine.load("cpu", 2_000_000_000)


def test_what_is_not_loaded_does_not_speak() -> None:
    engine, _ = loaded()
    engine.unload()
    with pytest.raises(EngineFailed, match="not loaded"):
        engine.synthesize(rows(engine, a_job().text))


def test_nothing_to_say_takes_no_time() -> None:
    engine, slept = loaded()
    assert engine.synthesize([]) == []
    assert slept == []
