"""Reading an ONNX graph by what is connected to what, and taking a part out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

#: Nodes that hand a value on, changed in shape or type at most.
CARRIERS = frozenset({"Identity", "Squeeze", "Unsqueeze", "Cast", "Reshape"})


class Wires:
    """Who makes and who takes each tensor of a graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = list(graph.node)
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        # Piper's exports have an initializer called "sid": the inputs are what is not initialised.
        self.inputs = [info.name for info in graph.input if info.name not in self.initializers]
        self.maker: dict[str, NodeProto] = {}
        self.takers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            self.maker.update(dict.fromkeys(node.output, node))
            for name in reads(node):
                self.takers.setdefault(name, []).append(node)

    def ops(self, op_type: str) -> list[NodeProto]:
        """All nodes of one kind, in order."""
        return [node for node in self.nodes if node.op_type == op_type]

    def source(self, tensor: str) -> NodeProto | None:
        """The node that makes the value of ``tensor``, seen through nodes that only hand it on."""
        node = self.maker.get(tensor)
        while node is not None and node.op_type in CARRIERS:
            node = self.maker.get(node.input[0])
        return node

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """The value of an initializer or a Constant node."""
        if tensor in self.initializers:
            return numpy_helper.to_array(self.initializers[tensor])
        node = self.maker.get(tensor)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        return None

    def after(self, tensor: str) -> set[str]:
        """All tensors that depend on ``tensor``, itself included."""
        found = {tensor}
        for node in self.nodes:  # ONNX keeps nodes in topological order
            if not found.isdisjoint(reads(node)):
                found.update(node.output)
        return found

    def before(self, tensors: Iterable[str], stop: Iterable[str] = ()) -> list[NodeProto]:
        """The nodes that are needed to make ``tensors``, in order, when those in ``stop`` are given."""
        given, needed, stack = set(stop), set(), list(tensors)
        while stack:
            node = self.maker.get(name := stack.pop())
            if name not in given and node is not None and id(node) not in needed:
                needed.add(id(node))
                stack.extend(reads(node))
        return [node for node in self.nodes if id(node) in needed]


def reads(node: NodeProto) -> Iterator[str]:
    """The tensors that a node reads, those of its subgraphs (``If``, ``Loop``) included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from reads(inner)
            yield from (output.name for output in attribute.g.output)


def ints(node: NodeProto, name: str, default: Sequence[int]) -> list[int]:
    """A node's attribute of whole numbers, or its default."""
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), list(default))


def text_of(node: NodeProto, name: str, default: str) -> str:
    """A node's attribute of text, or its default."""
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), default)


def number_of(node: NodeProto, name: str, default: int) -> int:
    """A node's attribute of one whole number, or its default."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def tensor_like(name: str, value: NDArray[Any]) -> TensorProto:
    """``value`` as an initializer."""
    return numpy_helper.from_array(np.ascontiguousarray(value), name)


def part(model: ModelProto, wires: Wires, inputs: Sequence[ValueInfoProto], outputs: Sequence[str]) -> ModelProto:
    """The part of ``model`` between ``inputs`` and ``outputs`` (float32), as a model of its own.

    Raises:
        ValueError: the part needs an input of the whole graph that is not among ``inputs``.
    """
    given = [info.name for info in inputs]
    nodes = wires.before(outputs, given)
    read = {name for node in nodes for name in reads(node)}
    strangers = sorted((read & set(wires.inputs)) - set(given))
    if strangers:
        raise ValueError(f"the part that makes {', '.join(outputs)} also needs the input {', '.join(strangers)}")
    graph = helper.make_graph(
        nodes,
        "part",
        list(inputs),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for name, tensor in wires.initializers.items() if name in read],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
