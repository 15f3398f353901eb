"""onnxruntime sessions: made by device, run with one edge where its errors become ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from stentor.errors import EngineFailed, OutOfMemory

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
#: onnxruntime's log levels; its warnings at load are about its own optimiser, and what fails raises.
ERROR = 3

#: How onnxruntime says it: its arenas, CUDA, and C++ on a CPU. It has no error of its own for that.
OUT_OF_MEMORY = re.compile(
    "failed to allocate|out of memory|bad_alloc|available memory of .* is smaller", re.IGNORECASE
)

Feeds = Mapping[str, NDArray[Any]]


class OnnxSession:
    """One model that can be run from several threads at the same time."""

    def __init__(self, model: ModelProto, device: str, *, threads: int, memory_limit_bytes: int | None = None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERROR
        providers = _providers(device, memory_limit_bytes)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        self.inputs = frozenset(node.name for node in self._session.get_inputs())
        if device.startswith("cuda") and CUDA not in self._session.get_providers():
            raise EngineFailed(f"onnxruntime could not use {device} and fell back to the CPU instead of {CUDA}")

    def run(self, outputs: Sequence[str], feeds: Feeds) -> list[NDArray[np.float32]]:
        """The outputs, all float32; what the model does not take is left out of ``feeds``.

        Raises:
            OutOfMemory: the device has too little memory left for this.
        """
        taken = {name: value for name, value in feeds.items() if name in self.inputs}
        try:
            return cast("list[NDArray[np.float32]]", self._session.run(list(outputs), taken))
        except Exception as exc:
            if isinstance(exc, MemoryError) or OUT_OF_MEMORY.search(str(exc)):
                raise OutOfMemory(f"onnxruntime has no memory for this: {exc}") from exc
            raise


def require(device: str) -> None:
    """Returns if onnxruntime can run on ``device``.

    Raises:
        EngineFailed: the device is neither ``cpu`` nor ``cuda:<n>``, or this onnxruntime was built without CUDA.
    """
    if device == "cpu":
        return
    if not device.startswith("cuda:") or not device.removeprefix("cuda:").isdecimal():
        raise EngineFailed(f"the device is {device!r}; piper runs on cpu or cuda:<number>")
    installed = onnxruntime.get_available_providers()
    if CUDA not in installed:
        raise EngineFailed(
            f"{device} needs onnxruntime's {CUDA}; installed is onnxruntime {onnxruntime.__version__} with "
            f"{', '.join(installed)}. Install onnxruntime-gpu in its place"
        )


def _providers(device: str, memory_limit_bytes: int | None) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return [CPU]
    options = {
        "device_id": device.removeprefix("cuda:"),
        # Rows have ever new lengths, and the default (EXHAUSTIVE) would search anew for each.
        "cudnn_conv_algo_search": "HEURISTIC",
        # TF32, on by default, keeps 10 bits of a mantissa: near a thousandth of full scale, where batch = solo allows
        # half of that.
        "use_tf32": "0",
    }
    if memory_limit_bytes is not None:
        options |= {"gpu_mem_limit": str(memory_limit_bytes), "arena_extend_strategy": "kSameAsRequested"}
    return [(CUDA, options), CPU]
