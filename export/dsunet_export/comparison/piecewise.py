"""Run a graph in pieces, so that all of its tensors can be read with few in memory.

With many outputs in one session, ONNX Runtime keeps all of them until the graph ends: more than
20 GB for one image with `large`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.graph.session import GraphSession
from dsunet_runtime.backends.interface import Tensors


class PiecewiseRun:
    """A run of a graph from its inputs, for one or more images, to the values `wanted`.

    Every node is computed once for each image.  In memory are the weights of one piece, its outputs
    for one image, and the tensors of every image that later pieces read.  The file of the current
    piece is written to `folder`.
    """

    def __init__(
        self,
        model: ir.Model,
        wanted: Collection[ir.Value],
        inputs: Iterable[Tensors],
        folder: Path,
    ) -> None:
        self._model, self._folder = model, folder
        self._wanted = set(wanted)
        self._ahead = _made_by(model.graph, wanted, set())
        self._done: set[ir.Node] = set()
        given = model.graph.inputs
        self._known = [{value: some[str(value.name)] for value in given} for some in inputs]

    def compute(self, values: Sequence[ir.Value]) -> Iterator[list[NDArray[Any]]]:
        """Yield some of the wanted values for each image.

        Each value can be read once.  Raises ExportError if the graph does not run.
        """
        nodes = _made_by(self._model.graph, values, self._done)
        self._done.update(nodes)
        self._ahead = [node for node in self._ahead if node not in self._done]
        self._wanted.difference_update(values)
        kept = {value for node in self._ahead for value in node.inputs if value is not None}
        kept |= self._wanted
        read = {value for node in nodes for value in node.inputs if value is not None}
        inputs = [value for value in self._known[0] if value in read]
        kept_or_asked = kept.union(values)
        outputs = [value for node in nodes for value in node.outputs if value in kept_or_asked]
        names = [str(value.name) for value in outputs]
        with ExitStack() as stack:
            if nodes:
                piece = _piece(self._model, nodes, inputs, outputs)
                session = stack.enter_context(GraphSession(piece, self._folder))
            for index, known in enumerate(self._known):
                given = {str(value.name): known[value] for value in inputs}
                made = session.run(given, names) if nodes else {}
                known.update({value: made[str(value.name)] for value in outputs})
                self._known[index] = {v: array for v, array in known.items() if v in kept}
                yield [known[value] for value in values]


def _made_by(
    graph: ir.Graph, values: Iterable[ir.Value], done: Collection[ir.Node]
) -> list[ir.Node]:
    """Return the nodes needed to compute values, without those already done, in graph order."""
    needed: set[ir.Node] = set()
    open_ends = list(values)
    while open_ends:
        producer = open_ends.pop().producer()
        if producer is not None and producer not in needed and producer not in done:
            needed.add(producer)
            open_ends.extend(value for value in producer.inputs if value is not None)
    return [node for node in graph if node in needed]


def _piece(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
) -> ir.Model:
    """Build a model of some nodes of a graph, with their weights."""
    copies = {value: ir.val(str(value.name), value.dtype) for value in inputs}
    weights = {
        value: ir.val(str(value.name), const_value=value.const_value)
        for node in nodes
        for value in node.inputs
        if value is not None and value.is_initializer()
    }
    copies |= weights
    copied = []
    for node in nodes:
        copy = ir.Node(
            node.domain,
            node.op_type,
            [None if value is None else copies[value] for value in node.inputs],
            node.attributes.values(),
            num_outputs=len(node.outputs),
            version=node.version,
            name=node.name,
        )
        for original, output in zip(node.outputs, copy.outputs, strict=True):
            output.name, output.type = original.name, original.type
            copies[original] = output
        copied.append(copy)
    graph = ir.Graph(
        [copies[value] for value in inputs],
        [copies[value] for value in outputs],
        nodes=copied,
        initializers=list(weights.values()),
        opset_imports=model.opset_imports,
        name="piece",
    )
    return ir.Model(graph, ir_version=model.ir_version)
