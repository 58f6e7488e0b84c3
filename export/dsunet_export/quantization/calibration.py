"""How far values of a graph spread on given images: the range that their integers are to span."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_export.precision.narrowing import insert_where_made
from dsunet_export.precision.running import compute_logits
from dsunet_export.probes import GraphInputs, Probe

LEVELS = 127
"""Of a symmetric 8-bit integer, on either side of zero."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of all of a tensor's values, on all images."""

    largest: float
    """Magnitude."""
    rms: float
    """Root of the mean square."""

    @property
    def noise(self) -> float:
        """What rounding to one of 255 steps up to the largest adds, as a share of the RMS."""
        return self.largest / LEVELS / math.sqrt(12) / self.rms if self.rms else 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a float32 graph gave."""

    spreads: dict[str, Spread]
    """By the tensor's name, on the images for calibration."""
    logits: list[NDArray[np.float32]]
    """S×S for each image, those first that were only computed."""


def calibrate(
    model: ir.Model,
    values: Collection[ir.Value],
    only_computed: Sequence[Probe],
    images: Sequence[Probe],
    inputs: GraphInputs,
    folder: Path,
) -> Calibration:
    """Run a float32 graph, in one session, and note how far the values spread on the images.

    The model stays as it is; `folder` holds a copy of it meanwhile.  Raises ExportError if one of
    the values is not finite.
    """
    measured = model.clone()
    outputs = _add_statistics(measured.graph, {str(value.name) for value in values})
    probes = [*only_computed, *images]
    results = compute_logits(measured, map(inputs.prepare, probes), folder)
    counted = results[len(only_computed) :]
    spreads = {}
    for name, (maximum, minimum, norm, size) in outputs.items():
        extremes = [abs(float(r[o])) for r in counted for o in (maximum, minimum)]
        squares = sum(float(r[norm]) ** 2 for r in counted)
        spreads[name] = Spread(
            max(extremes), math.sqrt(squares / sum(int(r[size]) for r in counted))
        )
        if not math.isfinite(squares):
            raise ExportError(
                f"in float32 already, {name} is not finite on one of the images: no other "
                f"precision mends that; check the checkpoint, and --images"
            )
    return Calibration(spreads, [result["logits"][0, 0] for result in results])


def _add_statistics(graph: ir.Graph, names: set[str]) -> dict[str, tuple[str, str, str, str]]:
    """Four more outputs for each tensor named: maximum, minimum, Euclidean norm and size."""
    computed = [output for node in graph for output in node.outputs]
    tensors = {}
    for value in (*graph.inputs, *computed):
        if value.name not in names:
            continue
        added = {}
        for op_type in ("ReduceMax", "ReduceMin", "ReduceL2", "Size"):
            attributes = {} if op_type == "Size" else {"keepdims": 0}
            node = ir.node(op_type, [value], attributes, name=f"{value.name}.{op_type}")
            output = node.outputs[0]
            output.name, output.shape = node.name, ir.Shape([])
            output.dtype = ir.DataType.INT64 if op_type == "Size" else ir.DataType.FLOAT
            added[op_type] = node
        insert_where_made(graph, value, list(added.values()))
        graph.outputs.extend(node.outputs[0] for node in added.values())
        maximum, minimum, norm, size = (str(node.name) for node in added.values())
        tensors[str(value.name)] = (maximum, minimum, norm, size)
    return tensors
