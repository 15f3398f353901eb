"""Which models are on a device: loading, making room, warming up, giving up."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from stentor.errors import EngineFailed, ModelUnavailable, OutOfMemory, SynthesisError
from stentor.settings import Settings
from tests.nvml.stub import FakeGpu, stub_gpus
from tests.support.speech.factories import ToneEngine
from worker.device.residency import Residency
from worker.device.warmup import warm_up
from worker.engines.contract import Engine, Speech, Utterance


class Model(ToneEngine):
    def __init__(self, name: str, *, gb: float = 1.0, room: int = 10**9, works: bool = True) -> None:
        super().__init__(budget=1000, pads=True)
        self.info = dataclasses.replace(self.info, model=name, memory_bytes=round(gb * 1e9))
        self.room, self.works = room, works

    def load(self, device: str, memory_limit_bytes: int | None) -> None:
        super().load(device, memory_limit_bytes)
        if not self.works:
            raise OSError("bad weights")

    def synthesize(self, batch: Sequence[Utterance]) -> list[Speech | SynthesisError]:
        if sum(row.cost for row in batch) > self.room:
            raise OutOfMemory("full")
        return super().synthesize(batch)


def residency(*models: Model, resident_bytes: int = 0, device: str = "cpu", **settings: object) -> Residency:
    made = Residency(Settings.model_validate(settings), device, resident=lambda: resident_bytes)
    engines: dict[str, Engine] = {model.info.model: model for model in models}
    made.engines = engines
    return made


def test_the_model_unused_for_longest_makes_room_under_the_cap() -> None:
    a, b, c = Model("a", gb=1), Model("b", gb=1), Model("c", gb=1.5)
    device = residency(a, b, c, device_memory_gb=3)
    for model in ("a", "b", "a"):
        device.engine(model)
    assert device.resident == ("a", "b")
    device.engine("c")
    assert device.resident == ("c", "a")
    assert (a.loads, b.loads, c.loads) == (1, 0, 1)


def test_without_a_cap_all_stay() -> None:
    device = residency(Model("a", gb=50), Model("b", gb=50))
    device.engine("a")
    device.engine("b")
    assert device.resident == ("b", "a")


def test_a_model_that_fails_three_times_is_left_to_others() -> None:
    device = residency(Model("a", works=False), Model("b"), default_voice="a")
    assert device.preferred == "a"
    for _ in range(3):
        with pytest.raises(EngineFailed, match="Model 'a' cannot be loaded on cpu: bad weights"):
            device.engine("a")
    assert (device.models, device.preferred, device.out) == (("b",), "b", False)


def test_a_device_of_which_all_models_failed_is_out() -> None:
    device = residency(Model("a", works=False))
    for _ in range(3):
        with pytest.raises(EngineFailed):
            device.engine("a")
    assert device.out
    assert not residency().out


def test_a_model_that_is_not_here_is_named() -> None:
    with pytest.raises(ModelUnavailable, match=r"No engine on this device has model 'x'\. Models: a"):
        residency(Model("a")).engine("x")


def test_on_a_cpu_a_model_that_alone_is_beyond_the_cap_is_refused() -> None:
    device = residency(Model("a"), resident_bytes=2_000_000_001, device_memory_gb=2)
    with pytest.raises(EngineFailed, match="the process then holds 2000000001 bytes; STENTOR_DEVICE_MEMORY_GB"):
        device.engine("a")
    assert device.resident == ()


@pytest.fixture
def cuda_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None of CUDA's variables is set, and what is pinned does not outlive the test."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_DISABLE_PERF_BOOST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def cuda_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}


def test_a_process_sees_only_its_gpu_numbered_as_the_driver_does(cuda_environ: pytest.MonkeyPatch) -> None:
    residency(Model("a"), device="cuda:1")
    assert cuda_variables() == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_DISABLE_PERF_BOOST": "1",
    }


@pytest.mark.parametrize(
    ("listed", "pinned"), [("2,3", "3"), ("GPU-aaaa,GPU-bbbb", "GPU-bbbb"), ("0", "-1"), ("MIG-a,MIG-b", "MIG-b")]
)
def test_a_list_of_gpus_that_was_set_is_kept(cuda_environ: pytest.MonkeyPatch, listed: str, pinned: str) -> None:
    cuda_environ.setenv("CUDA_VISIBLE_DEVICES", listed)
    cuda_environ.setenv("CUDA_DISABLE_PERF_BOOST", "0")
    residency(Model("a"), device="cuda:1")
    assert cuda_variables()["CUDA_VISIBLE_DEVICES"] == pinned
    assert cuda_variables()["CUDA_DISABLE_PERF_BOOST"] == "0"


def test_a_cpu_is_pinned_to_nothing(cuda_environ: pytest.MonkeyPatch) -> None:
    assert residency(Model("a")).gpu is None
    assert cuda_variables() == {}


def test_a_device_knows_its_gpu_by_uuid(cuda_environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with stub_gpus(tmp_path, FakeGpu(uuid="GPU-aaaa"), FakeGpu(uuid="GPU-bbbb")) as gpus:
        assert residency(Model("a"), device="cuda:1").gpu == "GPU-bbbb"
        assert gpus.calls() == []


def test_a_gpu_is_warmed_up_with_a_batch_of_the_whole_budget(cuda_environ: pytest.MonkeyPatch) -> None:
    model = Model("a")
    residency(model, device="cuda:1").engine("a")
    assert [len(batch) for batch in model.batches] == [12]  # of 80 characters each, within the budget of 1000


def test_a_warm_up_that_is_too_much_is_halved_until_it_fits() -> None:
    assert warm_up(Model("a")) == 960
    assert warm_up(Model("a", room=300)) == 240
    with pytest.raises(EngineFailed, match="Not even a batch of cost 124 "):
        warm_up(Model("a", room=10))
