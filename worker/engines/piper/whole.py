"""Models that cannot be cut (another exporter's): the whole graph, row by row.

What remains of the promises: rows run alone, so batch = solo. The graph's own noise (``RandomNormalLike``) is taken
over by an input, cut to the size that the graph asks for, so the same seed gives the same bytes. Where a graph draws
noise in another way (``deterministic`` is False), the same seed gives another take each time. There are no word times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from stentor.errors import SynthesisError
from worker.engines.piper.finish import Spoken
from worker.engines.piper.graphs.wires import Wires
from worker.engines.piper.latents import FloatArray, Row
from worker.engines.piper.model import speakers_of
from worker.engines.piper.sessions import OnnxSession
from worker.engines.piper.strategies import run_row

#: Prefix of the inputs that stand in for the graph's noise.
NOISE_PREFIX = "stentor_noise_"
#: Numbers drawn per phoneme id: 4 frames (joe: 2.07, at most 4.3 in short texts) of 192 channels, rounded up.
NOISE_PER_ID = 1024
#: A row that needs more noise is run again with this many times as much; the first numbers stay the same.
NOISE_GROWTH = 16
#: Ways to draw noise that no input replaces.
OTHER_NOISE = ("RandomNormal", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")


def with_noise_inputs(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """A copy of ``model`` whose ``RandomNormalLike`` nodes read inputs (float32, shape (numbers,)), and their names."""
    seeded = ModelProto()
    seeded.CopyFrom(model)
    nodes: list[NodeProto] = []
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type != "RandomNormalLike":
            nodes.append(node)
            continue
        name = f"{NOISE_PREFIX}{len(names)}"
        names.append(name)
        seeded.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_numbers"]))
        seeded.graph.initializer.append(helper.make_tensor(f"{name}_zero", TensorProto.INT64, [1], [0]))
        seeded.graph.initializer.append(helper.make_tensor(f"{name}_line", TensorProto.INT64, [1], [-1]))
        nodes += [
            helper.make_node("Shape", [node.input[0]], [f"{name}_shape"]),
            helper.make_node("Size", [node.input[0]], [f"{name}_size"]),
            helper.make_node("Reshape", [f"{name}_size", f"{name}_line"], [f"{name}_end"]),
            helper.make_node("Slice", [name, f"{name}_zero", f"{name}_end"], [f"{name}_cut"]),
            helper.make_node("Reshape", [f"{name}_cut", f"{name}_shape"], [node.output[0]]),
        ]
    del seeded.graph.node[:]
    seeded.graph.node.extend(nodes)
    return seeded, names


def draws_other_noise(model: ModelProto) -> bool:
    """Whether the graph has noise that ``with_noise_inputs`` does not take over."""
    wires = Wires(model.graph)
    return any(wires.ops(op_type) for op_type in OTHER_NOISE)


class WholeGraph:
    """Rows through the whole graph, one after the other."""

    pads = False
    whole_graph = True

    def __init__(
        self, session: OnnxSession, noise_inputs: Sequence[str], *, hop_samples: int, deterministic: bool, audio: str
    ) -> None:
        self._session = session
        self._noise_inputs = noise_inputs
        self._audio = audio
        self.hop_samples = hop_samples
        self.deterministic = deterministic

    def speak(self, rows: Sequence[Row]) -> list[Spoken | SynthesisError]:
        """One answer per row, in order."""
        return [run_row(self.speak_one, row) for row in rows]

    def speak_one(self, row: Row) -> Spoken:
        """One row; run again with more noise if the graph asked for more than expected."""
        numbers = max(1, round(NOISE_PER_ID * len(row.ids) * max(1.0, row.length_scale)))
        try:
            return self._run(row, numbers)
        except SynthesisError:
            raise
        except Exception:  # noqa: BLE001 (what onnxruntime raises has no common base; a second failure is let through)
            return self._run(row, numbers * NOISE_GROWTH)

    def _run(self, row: Row, numbers: int) -> Spoken:
        speakers = speakers_of([row.speaker_id])
        feeds: dict[str, np.ndarray] = {
            "input": row.ids[None],
            "input_lengths": np.array([len(row.ids)]),
            "scales": np.array([row.noise_scale, row.length_scale, row.noise_w_scale], dtype=np.float32),
            **({} if speakers is None else {"sid": speakers}),
            **self._noise(row, numbers),
        }
        (audio,) = self._session.run([self._audio], feeds)
        return Spoken(samples=audio.reshape(-1), frames=None)

    def _noise(self, row: Row, numbers: int) -> dict[str, FloatArray]:
        """Per noise input its own stream, so that more of one leaves the others as they are."""
        streams = np.random.SeedSequence(row.seed).spawn(len(self._noise_inputs))
        return {
            name: np.random.Generator(np.random.PCG64(stream)).standard_normal(numbers, dtype=np.float32)
            for name, stream in zip(self._noise_inputs, streams, strict=True)
        }

    def close(self) -> None:
        """Nothing is held but the session."""
