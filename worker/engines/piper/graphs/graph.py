"""The cut of an exported VITS graph at its durations: text half, latent half, and numpy in between.

Exported, the graph draws its own noise and takes one speed for the whole batch (``scales``: noise, length, duration
noise). Cut, both are ours, row by row. The places are found by their shape, not by name:

    w * scales[1] -> Ceil                                   durations: the text half gives ``w``
    RandomNormalLike * scales[2]                            duration noise becomes an input, if there is any
    m' + RandomNormalLike * exp(s') * scales[0]  = z        the latent half begins at ``z``
    m' = Transpose(MatMul(path, Transpose(m)))              the text half gives ``m``; ``s`` likewise
    the one tensor that goes from the durations around z    the frame mask, input of the latent half
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from worker.engines.piper.graphs.wires import Wires, part

#: Positions in ``scales`` (piper's export_onnx.py).
NOISE, LENGTH, NOISE_W = 0, 1, 2

T = TypeVar("T")


class NotCuttable(Exception):
    """The graph does not have the shape of a Piper export; it runs whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halves:
    """The two halves of a model and the names of what goes in and out."""

    #: input (int64, rows x ids), input_lengths (int64, rows), [duration_noise (float32, rows x 2 x ids)], [sid]
    #: -> weights (rows x 1 x ids), means and log_deviations (rows x channels x ids).
    text: ModelProto
    #: latents (float32, rows x channels x frames), mask (float32, rows x 1 x frames), [sid] -> audio.
    latent: ModelProto
    #: None if the duration predictor is deterministic.
    duration_noise: str | None
    weights: str
    means: str
    log_deviations: str
    latents: str
    mask: str
    audio: str


def cut(model: ModelProto) -> Halves:
    """The halves of a Piper export.

    Raises:
        NotCuttable: what was looked for and not found.
    """
    wires = Wires(model.graph)
    ceil, weights = _durations(wires)
    noise = _duration_noise(wires)
    latents, deviations, means = _latents(wires)
    outputs = (weights, _per_id(wires, means), _per_id(wires, deviations))
    mask = _mask(wires, ceil, latents)
    audio = model.graph.output[0].name
    sid = [_long("sid", "rows")] if "sid" in wires.inputs else []
    ids = [_long("input", "rows", "ids"), _long("input_lengths", "rows"), *([_float(noise)] if noise else []), *sid]
    return Halves(
        text=_half(model, wires, ids, outputs),
        latent=_half(model, wires, [_float(latents), _float(mask), *sid], (audio,)),
        duration_noise=noise,
        weights=weights,
        means=outputs[1],
        log_deviations=outputs[2],
        latents=latents,
        mask=mask,
        audio=audio,
    )


def _half(model: ModelProto, wires: Wires, inputs: list[ValueInfoProto], outputs: Sequence[str]) -> ModelProto:
    try:
        half = part(model, wires, inputs, outputs)
    except ValueError as exc:
        raise NotCuttable(str(exc)) from exc
    if Wires(half.graph).ops("RandomNormalLike"):
        raise NotCuttable("a RandomNormalLike is left in a half, so noise would not be the row's own")
    return half


def _long(name: str, *shape: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))


def _float(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _scale_nodes(wires: Wires, position: int) -> list[tuple[NodeProto, str]]:
    """All Mul nodes with ``scales[position]``, each with its other factor."""
    found = []
    for node in wires.ops("Mul"):
        for at, name in enumerate(node.input):
            scale = wires.source(name)
            if scale is not None and scale.op_type == "Gather" and scale.input[0] == "scales":
                index = wires.constant(scale.input[1])
                if index is not None and int(index.reshape(-1)[0]) == position:
                    found.append((node, node.input[1 - at]))
    return found


def _only(things: Sequence[T], what: str) -> T:
    if len(things) != 1:
        raise NotCuttable(f"{what}: {len(things)} found, 1 wanted")
    return things[0]


def _durations(wires: Wires) -> tuple[str, str]:
    """The output of Ceil, and ``w``."""
    scaled = {node.output[0]: other for node, other in _scale_nodes(wires, LENGTH)}
    ceils = [node for node in wires.ops("Ceil") if node.input[0] in scaled]
    ceil = _only(ceils, "Ceil of something times scales[1]")
    return ceil.output[0], scaled[ceil.input[0]]


def _is_noise(wires: Wires, tensor: str) -> bool:
    node = wires.maker.get(tensor)
    return node is not None and node.op_type == "RandomNormalLike"


def _duration_noise(wires: Wires) -> str | None:
    """The scaled noise of the duration predictor; None if nothing is scaled by scales[2]."""
    noises = [node.output[0] for node, other in _scale_nodes(wires, NOISE_W) if _is_noise(wires, other)]
    return _only(noises, "RandomNormalLike times scales[2]") if noises else None


def _latents(wires: Wires) -> tuple[str, str, str]:
    """``z``, ``s'`` and ``m'``."""
    scaled, product = _only(_scale_nodes(wires, NOISE), "product with scales[0]")
    factors = wires.maker.get(product)
    if factors is None or factors.op_type != "Mul":
        raise NotCuttable("what is multiplied by scales[0] is not a product")
    exponents = [wires.maker.get(name) for name in factors.input if not _is_noise(wires, name)]
    exponent = _only(exponents, "factor next to the noise of the latents")
    if exponent is None or exponent.op_type != "Exp":
        raise NotCuttable("the noise of the latents is not multiplied by an Exp")
    adds = [node for node in wires.takers.get(scaled.output[0], []) if node.op_type == "Add"]
    add = _only(adds, "Add that takes the scaled noise")
    means = _only([name for name in add.input if name != scaled.output[0]], "mean that the noise is added to")
    return add.output[0], exponent.input[0], means


def _per_id(wires: Wires, expanded: str) -> str:
    """The tensor per phoneme id that was repeated along the path to make the tensor per frame ``expanded``."""
    tensor = expanded
    for op_type, argument in (("Transpose", 0), ("MatMul", 1), ("Transpose", 0)):
        node = wires.maker.get(tensor)
        if node is None or node.op_type != op_type:
            raise NotCuttable(f"{expanded} is not made by Transpose, MatMul, Transpose")
        tensor = str(node.input[argument])
    return tensor


def _mask(wires: Wires, ceil: str, latents: str) -> str:
    """The one tensor that depends on the durations and reaches the latent half in addition to ``z``."""
    of_durations, of_latents = wires.after(ceil), wires.after(latents)
    others: set[str] = {
        name
        for node in wires.before([wires.graph.output[0].name], [latents])
        if not of_latents.isdisjoint(node.output)
        for name in node.input
        if name in of_durations and name not in of_latents
    }
    return _only(sorted(others), "tensor from the durations to the latent half")
