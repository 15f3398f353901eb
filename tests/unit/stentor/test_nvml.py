"""NVML through NVIDIA's own binding, on a stub of the driver's library."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stentor.devices.nvml import Nvml, uuid_of, visible_gpu
from stentor.errors import ClocksRefused, GpuLost, NvmlUnavailable
from tests.nvml.stub import DRIVER_NOT_LOADED, NO_PERMISSION, NOT_SUPPORTED, UNKNOWN, FakeGpu, StubGpus, stub_gpus

A, B = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-bbbbbbbb-0000-0000-0000-000000000000"
#: Any moment; the simulated one stands still unless a test moves it.
NOON = 1_700_000_000.0


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[StubGpus]:
    with stub_gpus(tmp_path, FakeGpu(uuid=A), FakeGpu(uuid=B, name="Another"), now=NOON) as made:
        yield made


@pytest.fixture
def nvml(gpus: StubGpus) -> Iterator[Nvml]:
    made = Nvml.open()
    yield made
    made.close()


def test_a_reading_is_what_the_driver_tells(gpus: StubGpus, nvml: Nvml) -> None:
    gpus.context(A, os.getpid(), 3 * 10**9)
    gpus.busy(A, True)
    gpus.set_time(NOON + 10)
    assert dataclasses.asdict(nvml.readings()[A]) == {
        "uuid": A,
        "index": 0,
        "name": "Simulated GPU",
        "energy_j": 700.0,
        "power_w": 70.0,
        "memory_used_bytes": 3 * 10**9,
        "memory_total_bytes": 24 * 10**9,
        "sm_clock_mhz": 2040,
        "memory_clock_mhz": 6251,
        "temperature_c": 47,
        "utilization_percent": 100,
        "pids": frozenset({os.getpid()}),
    }
    assert nvml.uuids == (A, B)
    assert nvml.readings()[B].power_w == 8.0


def test_low_is_the_lowest_pair_that_is_supported(gpus: StubGpus, nvml: Nvml) -> None:
    low = nvml.set_low(A)
    assert (low.sm_mhz, low.memory_mhz) == (210, 405)
    nvml.reset(A)
    assert [call.words for call in gpus.calls()] == [
        ("set_gpu", 210, 210, 0),
        ("set_memory", 405, 405, 0),
        ("reset_gpu", 0, 0, 0),
        ("reset_memory", 0, 0, 0),
    ]
    assert {call.uuid for call in gpus.calls()} == {A}
    assert {call.pid for call in gpus.calls()} == {os.getpid()}


def test_memory_clocks_that_cannot_be_locked_are_left(gpus: StubGpus, nvml: Nvml) -> None:
    for function in ("set_memory", "reset_memory"):
        gpus.inject(function, NOT_SUPPORTED)
    assert nvml.set_low(A).memory_mhz is None
    assert gpus.locks(A) == (210, 0)
    nvml.reset(A)
    assert gpus.locks(A) == (0, 0)


@pytest.mark.parametrize("function", ["set_gpu", "supported"])
def test_a_driver_that_refuses_changes_nothing(gpus: StubGpus, nvml: Nvml, function: str) -> None:
    gpus.inject(function, NO_PERMISSION)
    with pytest.raises(ClocksRefused):
        nvml.set_low(A)
    assert gpus.locks(A) == (0, 0)


def test_clocks_that_are_not_given_back_are_told(gpus: StubGpus, nvml: Nvml) -> None:
    nvml.set_low(A)
    gpus.inject("reset_memory", UNKNOWN)
    with pytest.raises(ClocksRefused):
        nvml.reset(A)


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("energy", "energy_j"),
        ("power", "power_w"),
        ("memory", "memory_used_bytes"),
        ("clocks", "sm_clock_mhz"),
        ("temperature", "temperature_c"),
        ("utilization", "utilization_percent"),
        ("processes", "pids"),
    ],
)
def test_a_figure_that_is_not_to_be_had_is_none_and_the_others_stay(
    gpus: StubGpus, nvml: Nvml, function: str, field: str
) -> None:
    gpus.inject(function, NOT_SUPPORTED, A)
    fields = dataclasses.asdict(nvml.reading(A))
    assert fields[field] is None
    assert sum(value is None for value in fields.values()) <= 2
    assert dataclasses.asdict(nvml.reading(B))[field] is not None


def test_a_lost_gpu_is_left_out_until_nvml_is_opened_anew(gpus: StubGpus, nvml: Nvml) -> None:
    gpus.lose(A)
    assert set(nvml.readings()) == {B}
    assert nvml.lost == {A}
    with pytest.raises(GpuLost):
        nvml.set_low(A)
    gpus.lose(A, False)
    assert set(nvml.readings()) == {B}
    again = Nvml.open()
    assert (set(again.readings()), again.lost) == ({A, B}, set())
    again.close()


def test_a_gpu_that_is_lost_before_is_known_by_its_number(gpus: StubGpus) -> None:
    gpus.lose(A)
    found = Nvml.open()
    assert (found.uuids, found.lost) == ((B,), {0})
    found.close()


def test_slices_are_told(gpus: StubGpus, nvml: Nvml) -> None:
    gpus.mig(A)
    assert (nvml.in_slices(A), nvml.in_slices(B)) == (True, False)
    gpus.inject("mig", NOT_SUPPORTED)
    assert nvml.in_slices(A) is False


def test_a_driver_that_is_not_loaded_is_said(gpus: StubGpus) -> None:
    gpus.inject("init", DRIVER_NOT_LOADED)
    with pytest.raises(NvmlUnavailable, match="Driver Not Loaded"):
        Nvml.open()
    assert uuid_of("0") is None


def test_without_the_library_nvml_is_unavailable() -> None:
    code = "from stentor.devices.nvml import Nvml, uuid_of; print(uuid_of('0')); Nvml.open()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        pytest.skip("this machine has a driver")
    assert done.stdout == "None\n"
    assert "NvmlUnavailable" in done.stderr


def test_gpus_are_found_by_number_and_by_uuid(gpus: StubGpus) -> None:
    assert [uuid_of(gpu) for gpu in ("0", "1", "2", "GPU-bbbb", "GPU-cccc", "MIG-abc")] == [
        A,
        B,
        None,
        B,
        None,
        "MIG-abc",
    ]


@pytest.mark.parametrize(
    ("listed", "device", "found"),
    [
        (None, "cuda:1", "1"),
        ("2,3", "cuda:1", "3"),
        ("GPU-aaaa,GPU-bbbb", "cuda:1", "GPU-bbbb"),
        (" 0 , 1 ", "cuda:1", "1"),
        ("MIG-abc", "cuda:0", "MIG-abc"),
        ("0", "cuda:1", None),
        ("0,-1,2", "cuda:1", None),
        ("", "cuda:0", None),
    ],
)
def test_a_device_is_counted_among_the_visible_ones(listed: str | None, device: str, found: str | None) -> None:
    environ = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert visible_gpu(device, environ) == found


def test_a_process_that_ended_has_no_context(gpus: StubGpus, nvml: Nvml) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    gpus.context(A, ended.pid)
    gpus.context(A, 4_000_000, is_virtual=True)
    ended.wait(timeout=30)
    assert nvml.reading(A).pids == frozenset({4_000_000})


def test_the_stubs_ledger_is_literal(gpus: StubGpus, nvml: Nvml) -> None:
    gpus.set_time(NOON + 10)
    gpus.context(A, 4_000_000, is_virtual=True)
    gpus.set_time(NOON + 30)
    nvml.set_low(A)
    gpus.set_time(NOON + 130)
    gpus.busy(A, True)
    gpus.set_time(NOON + 131)
    nvml.reset(A)
    gpus.set_time(NOON + 141)
    assert gpus.ledger(A) == {
        "empty": (10.0, 80.0),
        "empty_low": (0.0, 0.0),
        "idle": (20.0, 600.0),
        "idle_low": (100.0, 1800.0),
        "busy": (10.0, 700.0),
        "busy_low": (1.0, 40.0),
    }
    assert nvml.reading(A).energy_j == 3220.0


def test_other_processes_see_the_same_gpus(gpus: StubGpus, nvml: Nvml) -> None:
    code = f"from stentor.devices.nvml import Nvml; Nvml.open().set_low({B!r})"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **gpus.environ}, check=True, timeout=60)
    assert (gpus.locks(A), gpus.locks(B)) == ((0, 0), (210, 405))
    assert {call.pid for call in gpus.calls()}.isdisjoint({os.getpid()})
