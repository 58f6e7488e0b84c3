"""Trace a module to an ONNX graph."""

from __future__ import annotations

import warnings

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnxscript import optimizer
from torch import Tensor, nn

from dsunet_export.errors import ExportError
from dsunet_export.graph.names import PREPROCESS
from dsunet_export.graph.surgery import (
    fix_reshape_shapes,
    module_path,
    name_after_modules,
    transpose_weights,
)
from dsunet_runtime.message_text import reason

_FOLDING_LIMIT = 1 << 24
"""Largest constant, in elements, that folding may create; Hiera's position table is the largest."""


def trace(
    module: nn.Module,
    inputs: dict[str, Tensor],
    output: str,
    dynamic_axes: dict[str, dict[int, str]],
    opset: int,
) -> ir.Model:
    """Trace a module with named inputs and one output tensor to an ONNX model.

    Nodes and values are named after the modules that they come from.  `inputs` are examples.
    `dynamic_axes` maps names of inputs to their dynamic axes and the names of these; an example
    must be longer than 1 there.

    Raises:
        ExportError: PyTorch cannot trace the module.
    """
    model = capture(module.eval(), inputs, output, dynamic_axes, opset)
    _simplify(model)
    return model


def capture(
    module: nn.Module,
    inputs: dict[str, Tensor],
    output: str,
    dynamic_axes: dict[str, dict[int, str]],
    opset: int,
) -> ir.Model:
    """Return the graph as PyTorch traces it; initializers are the module's parameters and buffers.

    All but their values depends on the module's structure alone.  Arguments as of `trace`.
    """
    axis_names = {name for axes in dynamic_axes.values() for name in axes.values()}
    dims = {name: torch.export.Dim(name) for name in axis_names}
    dynamic_shapes = {
        name: {axis: dims[dim] for axis, dim in dynamic_axes.get(name, {}).items()}
        for name in inputs
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about its own internals
        try:
            program = torch.onnx.export(
                module,
                kwargs=inputs,
                dynamic_shapes=dynamic_shapes,
                input_names=list(inputs),
                output_names=[output],
                opset_version=opset,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # of many types, most of them PyTorch's own
            raise ExportError(
                f"PyTorch {torch.__version__} cannot trace the model at opset {opset}: "
                f"{reason(error)}"
            ) from error
    if program is None:
        raise ExportError(
            f"PyTorch {torch.__version__} returned no ONNX program: use another version"
        )
    return program.model


def _fold_resampling_weights(node: ir.Node) -> bool | None:
    """Fold resampling weights of a fixed size whatever their size.

    TensorRT for RTX does not compile graphs that compute them partly.
    """
    return True if module_path(node) == PREPROCESS else None


def _simplify(model: ir.Model) -> None:
    # Before constants are folded, which would leave the transposed weights without names.
    transpose_weights(model.graph)
    optimizer.fold_constants(
        model, output_size_limit=_FOLDING_LIMIT, should_fold=_fold_resampling_weights
    )
    fix_reshape_shapes(model.graph)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.DeduplicateInitializersPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    name_after_modules(model)
    # Metadata of the tracer contains paths of this machine and is larger than the graph.
    passes.ClearMetadataAndDocStringPass()(model)
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()  # which that pass leaves
