"""Small voices in the shape of Piper's exports, with weights drawn from a seed, for what the real voice never does.

As in an export of piper (export_onnx.py): ``input``, ``input_lengths``, ``scales`` and for several speakers ``sid``;
durations are Ceil(w * scales[1]); means and deviations are repeated by MatMul with a path; RandomNormalLike draws the
noise; the decoder is Conv, ConvTranspose, LeakyRelu and Tanh. The convolutions have no bias, so that zeros stay zeros
and padding changes nothing at all.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from worker.engines.piper.graphs.graph import cut
from worker.engines.piper.model import CutModel
from worker.engines.piper.sessions import OnnxSession
from worker.engines.piper.strategies import Padded

SYMBOLS = 166
CHANNELS = 16
SAMPLE_RATE_HZ = 22050


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vits:
    """What a generated voice is like; the default is like an export of piper with one speaker."""

    speakers: tuple[str, ...] = ()
    #: Upsampling of each ConvTranspose; their product is the hop length.
    strides: tuple[int, ...] = (8, 8, 4)
    #: A duration predictor without noise.
    deterministic: bool = False
    #: The latents' noise is scaled in another order than piper's, so that the place to cut is not found.
    cuttable: bool = True
    #: What draws the latents' noise.
    noise: str = "RandomNormalLike"
    #: What stands between the decoder's convolutions.
    activation: str = "LeakyRelu"
    #: The decoder's first convolution stands in both branches of an If and reads its weights from outside.
    branch: bool = False
    #: Logarithm of the frames per phoneme id, about.
    log_frames: float = 1.0
    #: The audio is multiplied by this.
    gain: float = 1.0

    @property
    def hop(self) -> int:
        return math.prod(self.strides)


class _Graph:
    """Nodes and weights as they come."""

    def __init__(self, vits: Vits) -> None:
        self.vits = vits
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = np.random.default_rng(1)

    def add(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any, dtype: type[np.generic] = np.int64) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def drawn(self, *shape: int, scale: float) -> str:
        return self.constant(self._rng.standard_normal(shape) * scale, np.float32)

    def scale(self, position: int) -> str:
        return self.add("Gather", "scales", self.constant(position))

    def conv(self, tensor: str, channels_in: int, channels: int, kernel: int, scale: float, dilation: int = 1) -> str:
        reach = (kernel - 1) * dilation // 2
        weight = self.drawn(channels, channels_in, kernel, scale=scale / math.sqrt(channels_in * kernel))
        return self.add(
            "Conv", tensor, weight, kernel_shape=[kernel], dilations=[dilation], strides=[1], pads=[reach, reach]
        )

    def up(self, tensor: str, channels_in: int, channels: int, stride: int) -> str:
        weight = self.drawn(channels_in, channels, 2 * stride, scale=1.5 / math.sqrt(2 * channels_in))
        pads = [stride // 2, stride - stride // 2]
        return self.add("ConvTranspose", tensor, weight, kernel_shape=[2 * stride], strides=[stride], pads=pads)

    def mask(self, lengths: str, longest: str) -> tuple[str, str]:
        """Positions (1, longest) and their mask (rows, 1, longest)."""
        line = self.add("Range", self.constant(0), longest, self.constant(1))
        positions = self.add("Unsqueeze", line, self.constant([0]))
        inside = self.add("Less", positions, self.add("Unsqueeze", lengths, self.constant([1])))
        lifted = self.add("Unsqueeze", inside, self.constant([1]))
        return positions, self.add("Cast", lifted, to=TensorProto.FLOAT)


def model(vits: Vits) -> ModelProto:
    """The graph of a generated voice."""
    graph = _Graph(vits)
    x, ids_mask = _encoder(graph)
    w = _weights(graph, x, ids_mask)
    frames = graph.add("Ceil", graph.add("Mul", w, graph.scale(1)))
    path, frames_mask = _path(graph, frames)
    means = _repeated(graph, path, graph.conv(x, CHANNELS, CHANNELS, 1, scale=1.0))
    deviations = _repeated(graph, path, graph.conv(x, CHANNELS, CHANNELS, 1, scale=0.2))
    z = _latents(graph, means, deviations)
    _decoder(graph, graph.add("Mul", z, frames_mask))
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["rows", "ids"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["rows"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        *([helper.make_tensor_value_info("sid", TensorProto.INT64, ["rows"])] if vits.speakers else []),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    made = helper.make_graph(graph.nodes, "vits", inputs, [output], graph.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def _encoder(graph: _Graph) -> tuple[str, str]:
    """Text, and speaker if there are several: (rows, channels, ids), masked; and the mask."""
    looked_up = graph.add("Gather", graph.drawn(SYMBOLS, CHANNELS, scale=1.0), "input")
    x = graph.add("Transpose", looked_up, perm=[0, 2, 1])
    if graph.vits.speakers:
        speaker = graph.add("Gather", graph.drawn(len(graph.vits.speakers), CHANNELS, scale=2.0), "sid")
        x = graph.add("Add", x, graph.add("Unsqueeze", speaker, graph.constant([2])))
    longest = graph.add("Gather", graph.add("Shape", "input"), graph.constant(1))
    _, mask = graph.mask("input_lengths", longest)
    x = graph.add("Mul", x, mask)
    x = graph.conv(x, CHANNELS, CHANNELS, 3, scale=1.0)
    return graph.add("Mul", x, mask), mask


def _weights(graph: _Graph, x: str, ids_mask: str) -> str:
    """Durations before speed and rounding, by default 1.5 to 5 frames for most ids: (rows, 1, ids)."""
    log_w = graph.conv(x, CHANNELS, 1, 1, scale=0.2)
    if not graph.vits.deterministic:
        rows_ids = graph.add("Shape", "input")
        rows, ids = (graph.add("Gather", rows_ids, graph.constant([at])) for at in (0, 1))
        zeros = graph.add("ConstantOfShape", graph.add("Concat", rows, graph.constant([2]), ids, axis=0))
        noise = graph.add("Mul", graph.add("RandomNormalLike", zeros), graph.scale(2))
        log_w = graph.add("Add", log_w, graph.conv(noise, 2, 1, 1, scale=0.2))
    log_w = graph.add("Add", log_w, graph.constant(graph.vits.log_frames, np.float32))
    return graph.add("Mul", graph.add("Exp", log_w), ids_mask)


def _path(graph: _Graph, frames: str) -> tuple[str, str]:
    """Which frame belongs to which id, (rows, frames, ids), and the frames' mask, (rows, 1, frames)."""
    total = graph.add("ReduceSum", frames, graph.constant([1, 2]), keepdims=0)
    lengths = graph.add("Cast", graph.add("Clip", total, graph.constant(1.0, np.float32)), to=TensorProto.INT64)
    longest = graph.add("ReduceMax", lengths, keepdims=0)
    positions, mask = graph.mask(lengths, longest)
    ends = graph.add("CumSum", frames, graph.constant(2))
    begins = graph.add("Sub", ends, frames)
    at = graph.add("Cast", graph.add("Unsqueeze", positions, graph.constant([2])), to=TensorProto.FLOAT)
    before = [graph.add("Cast", graph.add("Less", at, edge), to=TensorProto.FLOAT) for edge in (ends, begins)]
    return graph.add("Sub", *before), mask


def _repeated(graph: _Graph, path: str, per_id: str) -> str:
    """(rows, channels, ids) -> (rows, channels, frames)."""
    product = graph.add("MatMul", path, graph.add("Transpose", per_id, perm=[0, 2, 1]))
    return graph.add("Transpose", product, perm=[0, 2, 1])


def _latents(graph: _Graph, means: str, deviations: str) -> str:
    noise, spread, scale = graph.add(graph.vits.noise, means), graph.add("Exp", deviations), graph.scale(0)
    if graph.vits.cuttable:
        scaled = graph.add("Mul", graph.add("Mul", noise, spread), scale)
    else:
        scaled = graph.add("Mul", noise, graph.add("Mul", spread, scale))
    return graph.add("Add", means, scaled)


def _decoder(graph: _Graph, z: str) -> str:
    """The audio: (rows, 1, samples), with two residual convolutions after every upsampling."""
    x = _branch(graph, z) if graph.vits.branch else graph.conv(z, CHANNELS, CHANNELS, 7, scale=1.0)
    for stride in graph.vits.strides:
        x = graph.up(graph.add(graph.vits.activation, x), CHANNELS, CHANNELS, stride)
        for dilation in (1, 3):
            inner = graph.conv(graph.add(graph.vits.activation, x), CHANNELS, CHANNELS, 3, 0.5, dilation)
            x = graph.add("Add", x, inner)
    last = graph.add("Tanh", graph.conv(graph.add(graph.vits.activation, x), CHANNELS, 1, 7, scale=0.5))
    return graph.add("Mul", last, graph.constant(graph.vits.gain, np.float32), output="output")


def _branch(graph: _Graph, z: str) -> str:
    weight = graph.drawn(CHANNELS, CHANNELS, 1, scale=0.25)

    def conv(output: str) -> onnx.GraphProto:
        node = helper.make_node("Conv", [z, weight], [output])
        return helper.make_graph([node], output, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])

    condition = graph.constant(True, np.bool_)
    return graph.add("If", condition, then_branch=conv("then_out"), else_branch=conv("else_out"))


def config(vits: Vits, **fields: Any) -> dict[str, Any]:
    """The voice's ``.onnx.json``; ``fields`` replace or add."""
    return {
        "audio": {"sample_rate": SAMPLE_RATE_HZ},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "num_symbols": SYMBOLS,
        "num_speakers": max(1, len(vits.speakers)),
        "speaker_id_map": {name: number for number, name in enumerate(vits.speakers)},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "hop_length": vits.hop,
        **fields,
    }


def save(folder: Path, name: str, vits: Vits, **fields: Any) -> Path:
    """Writes the voice and its configuration into ``folder``; the model's path."""
    path = folder / f"{name}.onnx"
    onnx.save(model(vits), path)
    path.with_name(path.name + ".json").write_text(json.dumps(config(vits, **fields)), encoding="utf-8")
    return path


def padded(path: Path, *, hop_samples: int, budget_frames: int = 20_000) -> Padded:
    """The strategy that CUDA uses, with the model in ``path`` on CPU sessions."""
    halves = cut(onnx.load(path))
    text, head = (OnnxSession(half, "cpu", threads=0) for half in (halves.text, halves.latent))
    return Padded(CutModel(names=halves, text=text, head=head, boundary=halves.audio), hop_samples, budget_frames)
