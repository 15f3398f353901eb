"""Where a decoder may be cut into stages, and how many samples around a piece a stage needs to get the piece right.

After the first upsampling a row's tensors outgrow the core's caches, and most of what is not convolution waits for
memory. Run in tiles they stay in it: on joe, one core, microseconds per latent frame, whole row of 6 s against tiles
of 32 frames: middle stage 210 -> 190, last stage 280 -> 234. The tiles overlap by what the convolutions reach, so the
samples are the same.
"""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

from onnx import ModelProto, NodeProto, TensorProto, helper

from worker.engines.piper.graphs.wires import Wires, ints, number_of, part, reads, text_of

#: Nodes that make each sample of their output from the same sample of their inputs.
POINTWISE = frozenset({"LeakyRelu", "Relu", "Tanh", "Sigmoid", "Identity", "Unsqueeze"})
#: As above if what they do not read from the stage is a constant.
POINTWISE_PAIRS = frozenset({"Add", "Mul", "Div", "Sub"})


class NotTileable(Exception):
    """A stage holds a node whose reach is not known here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the decoder with one input and one output, each of shape (rows, channels, samples)."""

    model: ModelProto
    input: str
    output: str
    #: Output samples per input sample.
    factor: int
    #: Input samples on each side that an output sample may depend on.
    halo: int


def stages(latent: ModelProto) -> tuple[ModelProto, str, list[Stage]]:
    """The latent half as its head (from its inputs to the first boundary), that boundary, and the stages.

    Boundaries are the inputs of all ConvTranspose nodes but the first. With none of them the head is all there is.

    Raises:
        NotTileable: the decoder is not a chain of parts with a known reach.
    """
    wires = Wires(latent.graph)
    boundaries = [node.input[0] for node in wires.ops("ConvTranspose")[1:]]
    ends = [*boundaries, latent.graph.output[0].name]
    head = part(latent, wires, latent.graph.input, ends[:1])
    return head, ends[0], [_stage(latent, wires, begin, end) for begin, end in itertools.pairwise(ends)]


def _stage(latent: ModelProto, wires: Wires, begin: str, end: str) -> Stage:
    info = helper.make_tensor_value_info(begin, TensorProto.FLOAT, None)
    try:
        model = part(latent, wires, [info], [end])
    except ValueError as exc:
        raise NotTileable(str(exc)) from exc
    factor, halo = _reach(Wires(model.graph), begin, end)
    return Stage(model=model, input=begin, output=end, factor=factor, halo=halo)


def _reach(wires: Wires, begin: str, end: str) -> tuple[int, int]:
    """Output samples per input sample, and the halo in input samples."""
    rate: dict[str, Fraction] = {begin: Fraction(1)}
    halo: dict[str, Fraction] = {begin: Fraction(0)}
    for node in wires.nodes:
        before = [name for name in reads(node) if name in rate]
        if not before:
            continue
        if len({rate[name] for name in before}) > 1:
            raise NotTileable(f"{node.op_type} joins tensors of different rates")
        growth, reach = _own_reach(wires, node)
        rate[node.output[0]] = rate[before[0]] * growth
        halo[node.output[0]] = max(halo[name] for name in before) + reach / rate[before[0]]
    if rate[end].denominator != 1:
        raise NotTileable(f"{rate[end]} output samples per input sample; wanted a whole number")
    return int(rate[end]), -int(-halo[end] // 1)


def _own_reach(wires: Wires, node: NodeProto) -> tuple[int, Fraction]:
    """How many times the samples, and how many input samples to each side, of one node."""
    if node.op_type in POINTWISE or node.op_type in POINTWISE_PAIRS:
        return 1, Fraction(0)
    if node.op_type not in {"Conv", "ConvTranspose"} or text_of(node, "auto_pad", "NOTSET") != "NOTSET":
        raise NotTileable(f"the reach of {node.op_type} is not known")
    weight = wires.initializers.get(node.input[1])
    if weight is None or len(weight.dims) != 3 or number_of(node, "group", 1) != 1:
        raise NotTileable(f"{node.op_type} without constant 1-D weights of one group")
    stride = ints(node, "strides", (1,))[0]
    span = (weight.dims[2] - 1) * ints(node, "dilations", (1,))[0]
    pads = ints(node, "pads", (0, 0))
    if node.op_type == "Conv":
        if stride != 1 or sum(pads) != span:
            raise NotTileable("a Conv that changes the number of samples")
        return 1, Fraction(max(pads))
    if sum(pads) != span + 1 - stride or any(ints(node, "output_padding", (0,))):
        raise NotTileable("a ConvTranspose whose output is not a multiple of its input")
    return stride, Fraction(-(-(span + 1) // stride))
