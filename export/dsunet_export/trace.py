"""Trace a module to an ONNX graph, with each kind of repeated block traced only once.

Most of the time of an export is tracing, and most of the 120 blocks and adapters of `large` differ
only in their weights.  The outer graph is therefore traced with a placeholder node for each block;
one block of each kind is traced beside it, with its weights as inputs; and its nodes replace the
placeholders of that kind.  The result equals a trace of the whole module, with nodes and values
named after the modules that they come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnxscript import optimizer
from torch import Tensor, nn

from dsunet_export.errors import ExportError
from dsunet_export.names import PREPROCESS
from dsunet_export.surgery import (
    PLACEHOLDER_ATTRIBUTE,
    cut_body,
    fix_reshape_shapes,
    insert_body,
    module_path,
    name_after_modules,
    remaining_nodes,
    transpose_weights,
)

_DOMAIN = "dsunet"

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

    `inputs` are examples.  `dynamic_axes` maps names of inputs to their dynamic axes and the names
    of these; an example must be longer than 1 there.  The module is unchanged afterwards.
    """
    with torch.no_grad(), _blocks_taken_out(module, inputs) as kinds:
        model = _exported(module, kinds, inputs, output, dynamic_axes, opset)
    _tidy(model)
    graph = model.graph
    bodies = {
        kind.name: cut_body(graph, kind.path, kind.input_names, kind.output_name) for kind in kinds
    }
    taken = {str(node.name) for node in remaining_nodes(graph, list(bodies.values()))}
    for call in [node for node in graph if node.domain == _DOMAIN]:
        insert_body(graph, call, bodies[call.op_type], taken)
    del graph.inputs[len(inputs) :], graph.outputs[1:]
    model.opset_imports.pop(_DOMAIN, None)
    passes.RemoveUnusedNodesPass()(model)
    transpose_weights(graph)
    return model


@dataclass(frozen=True)
class _Kind:
    """A kind of block: blocks that differ only in their weights."""

    number: int
    path: str
    block: nn.Module
    input_shape: torch.Size

    @property
    def name(self) -> str:
        return f"Block{self.number}"

    @property
    def input_names(self) -> list[str]:
        return [f"{self.name}.x", *(f"{self.name}.{name}" for name in _tensors(self.block))]

    @property
    def output_name(self) -> str:
        return f"{self.name}.y"

    def example(self) -> tuple[Tensor, list[Tensor]]:
        """Return an example input and example weights, not those of the block itself."""
        weights = [torch.empty_like(tensor) for tensor in _tensors(self.block).values()]
        return torch.zeros(self.input_shape), weights

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """Compute the block with other weights."""
        named = dict(zip(_tensors(self.block), weights, strict=True))
        result: Tensor = torch.func.functional_call(self.block, named, (x,))
        return result


class _Placeholder(nn.Module):
    """Replaces a block by one node of its kind, which takes the weights of the block."""

    def __init__(self, block: nn.Module, kind: _Kind, output_shape: torch.Size) -> None:
        super().__init__()
        self.add_module(PLACEHOLDER_ATTRIBUTE, block)
        self.kind, self.output_shape = kind, output_shape

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.onnx.ops.symbolic(
            f"{_DOMAIN}::{self.kind.name}",
            (x, *_tensors(self.get_submodule(PLACEHOLDER_ATTRIBUTE)).values()),
            dtype=x.dtype,
            shape=(x.shape[0], *self.output_shape[1:]),
            version=1,
        )
        return result


class _WithKinds(nn.Module):
    """A module with placeholders and one block of each kind, to be traced together."""

    def __init__(self, module: nn.Module, kinds: list[_Kind]) -> None:
        super().__init__()
        self.module, self.kinds = module, kinds

    def forward(
        self, inputs: dict[str, Tensor], blocks: list[tuple[Tensor, list[Tensor]]]
    ) -> tuple[Tensor, ...]:
        outputs = [
            kind.compute(x, weights) for kind, (x, weights) in zip(self.kinds, blocks, strict=True)
        ]
        return (self.module(**inputs), *outputs)


@contextmanager
def _blocks_taken_out(module: nn.Module, inputs: dict[str, Tensor]) -> Iterator[list[_Kind]]:
    """Replace blocks by placeholders inside the context, which yields their kinds."""
    kinds: dict[Any, _Kind] = {}
    places = []
    names = {block: name for name, block in module.named_modules()}
    for block, (input_shape, output_shape) in _block_shapes(module, inputs).items():
        signature = (input_shape[1:], _signature(block))
        kind = kinds.setdefault(signature, _Kind(len(kinds), names[block], block, input_shape))
        places.append((names[block], block, _Placeholder(block, kind, output_shape)))
    try:
        for name, _, placeholder in places:
            module.set_submodule(name, placeholder)
        yield list(kinds.values())
    finally:
        for name, block, _ in places:
            module.set_submodule(name, block)


def _block_shapes(
    module: nn.Module, inputs: dict[str, Tensor]
) -> dict[nn.Module, tuple[torch.Size, torch.Size]]:
    """Return the encoders' blocks and adapters with their input and output shapes."""
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}

    def record(block: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
        shapes[block] = (arguments[0].shape, output.shape)

    blocks = [
        block
        for name, block in module.named_modules()
        if name.rpartition(".")[0].endswith((".trunk.blocks", ".adapters", ".vit.blocks"))
    ]
    hooks = [block.register_forward_hook(record) for block in blocks]
    try:
        run_on_meta(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def run_on_meta(module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Run a module on meta tensors, for hooks and counters."""
    with torch.no_grad(), torch.device("meta"):
        weights = {name: tensor.to("meta") for name, tensor in _tensors(module).items()}
        arguments = {name: torch.empty(v.shape, dtype=v.dtype) for name, v in inputs.items()}
        torch.func.functional_call(module, weights, (), arguments)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _signature(block: nn.Module) -> tuple[Any, ...]:
    """Return a key, equal for two blocks only if they compute the same with equal weights."""
    tensors = tuple((name, t.shape, t.dtype) for name, t in _tensors(block).items())
    own = vars(nn.Module()).keys()  # submodules, parameters and the like, which are seen anyway
    settings = tuple(
        (path, type(part), tuple((k, _setting(v)) for k, v in vars(part).items() if k not in own))
        for path, part in block.named_modules()
    )
    return tensors, settings


def _setting(value: Any) -> Any:
    """Return a hashable key of an attribute; unhashable values are equal only to themselves."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _exported(
    module: nn.Module,
    kinds: list[_Kind],
    inputs: dict[str, Tensor],
    output: str,
    dynamic_axes: dict[str, dict[int, str]],
    opset: int,
) -> ir.Model:
    axis_names = {name for axes in dynamic_axes.values() for name in axes.values()}
    dims = {name: torch.export.Dim(name) for name in axis_names}
    input_axes = {
        name: {axis: dims[dim] for axis, dim in dynamic_axes.get(name, {}).items()}
        for name in inputs
    }
    blocks = [kind.example() for kind in kinds]
    any_batch = any(0 in axes for axes in dynamic_axes.values())
    block_axis = {0: torch.export.Dim.DYNAMIC} if any_batch else {}
    block_axes: list[Any] = [(block_axis, [{} for _ in weights]) for _, weights in blocks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about its own internals
        try:
            program = torch.onnx.export(
                _WithKinds(module, kinds).eval(),
                (inputs, blocks),
                dynamic_shapes=(input_axes, block_axes),
                input_names=[*inputs, *(name for kind in kinds for name in kind.input_names)],
                output_names=[output, *(kind.output_name for kind in kinds)],
                opset_version=opset,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # of many types, most of them PyTorch's own
            reason = " ".join(str(error).split())[:200]
            raise ExportError(
                f"PyTorch {torch.__version__} cannot trace the model at opset {opset}: {reason}"
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


def _tidy(model: ir.Model) -> None:
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
