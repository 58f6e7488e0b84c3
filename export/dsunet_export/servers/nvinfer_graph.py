"""The graph of the frames form with the input and output that DeepStream's nvinfer requires.

nvinfer writes float32 into the only input, N×C×H×W of a fixed size, and its engines cannot have
8-bit outputs (`transform` in nvdsinfer_context_impl.cpp, `getLayerInfo` in
nvdsinfer_model_builder.cpp of DeepStream's sources).  The graph gets another input and output
for the same numbers:

    image   float32 N×3×H×W, RGB, integers of 0 to 255
    mask    float32 N×1×H×W, levels of 0 to 255 divided by 255
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dsunet_export.errors import ExportError, VerificationError
from dsunet_export.graph.graph_file import load_graph
from dsunet_export.graph.self_description import describe_itself
from dsunet_runtime import load
from dsunet_runtime.artifact.manifest import Manifest, TensorSpec
from dsunet_runtime.backends.onnxruntime.backend import import_onnxruntime, session_options
from dsunet_runtime.selftest.pictures import picture
from dsunet_runtime.selftest.sizes import PICTURES

INPUT, OUTPUT = "image", "mask"
_READERS = ("Cast", "Shape")
"""The only operators that read the 8-bit image."""


def make_nvinfer_graph(artifact: Path, manifest: Manifest, size: tuple[int, int]) -> ir.Model:
    """Load the graph of an artifact and change its input and output.

    Args:
        artifact: ONNX file of the frames form, whose files have been checked.
        manifest: Its manifest.
        size: Height and width of the images.

    Raises:
        ExportError: The graph is not one that this package writes.
    """
    model = load_graph(artifact, manifest)
    graph = model.graph
    (image,), (mask,) = graph.inputs, graph.outputs
    batch = manifest.inputs[0].shape[0]
    last = mask.producer()
    readers = {use.node.op_type for use in image.uses()}
    if last is None or last.op_type != "Cast" or not readers <= {*_READERS}:
        raise ExportError(f"{artifact}: not a graph that `dsunet-export onnx` writes: export again")
    planes = TensorSpec(INPUT, "float32", (batch, 3, *size), "NCHW", "RGB, integers of 0 to 255")
    levels = TensorSpec(OUTPUT, "float32", (batch, 1, *size), "NCHW", "0 to 255, divided by 255")
    _change_input(graph, image, ir.Shape(planes.shape))
    _change_output(graph, mask, last, ir.Shape(levels.shape))
    describe_itself(model, replace(manifest, inputs=(planes,), outputs=(levels,)))
    return model


def _change_input(graph: ir.Graph, image: ir.Value, shape: ir.Shape) -> None:
    """Replace the input by float32 N×3×H×W, whose integers a Cast of the graph keeps exactly."""
    planes = ir.Value(name=INPUT, shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
    transpose = ir.node("Transpose", [planes], {"perm": [0, 2, 3, 1]}, name="nvinfer/Transpose")
    image.replace_all_uses_with(transpose.outputs[0])
    graph.inputs[0] = planes
    graph.insert_before(graph[0], transpose)


def _change_output(graph: ir.Graph, mask: ir.Value, last: ir.Node, shape: ir.Shape) -> None:
    """Replace the 8-bit output of the last Cast by float32 N×1×H×W, from 0 to 1."""
    floor = ir.node("Floor", [last.inputs[0]], name="nvinfer/Floor")  # as the Cast truncates
    graph.insert_before(last, floor)
    last.replace_input_with(0, floor.outputs[0])
    last.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT)
    mask.name, mask.type = "nvinfer/levels", ir.TensorType(ir.DataType.FLOAT)
    white, axis = (
        ir.node("Constant", [], {"value": ir.tensor(value)}, name=f"nvinfer/{name}")
        for name, value in (("white", np.float32(255)), ("axis", np.array([1], np.int64)))
    )
    scale = ir.node("Div", [mask, white.outputs[0]], name="nvinfer/Div")
    expand = ir.node("Unsqueeze", [scale.outputs[0], axis.outputs[0]], name="nvinfer/Unsqueeze")
    (result,) = expand.outputs
    result.name, result.shape = OUTPUT, shape
    result.type = ir.TensorType(ir.DataType.FLOAT)
    graph.extend([white, axis, scale, expand])
    graph.outputs[0] = result


def verify_nvinfer_graph(graph: Path, artifact: Path, size: tuple[int, int], batch: int) -> None:
    """Compare the masks of the changed graph and of the artifact, in ONNX Runtime.

    Args:
        graph: ONNX file of the changed graph.
        artifact: The artifact that it was made of.
        size: Height and width of the images.
        batch: Number of images; the pictures of the self-test, the first again after the last.

    Raises:
        VerificationError: A mask differs.
    """
    images = np.stack([picture(number % PICTURES, *size) for number in range(batch)])
    with load(artifact, selftest="never") as segmenter:
        outputs = segmenter.infer([segmenter.prepare(image) for image in images])
        expected = np.stack([output[OUTPUT] for output in outputs])
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(graph, session_options(runtime, None))
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = session.run([OUTPUT], {INPUT: planes})
    levels = np.rint(255 * found[:, 0])
    if not np.array_equal(levels, expected):
        worst = np.abs(levels - expected).max()
        raise VerificationError(
            f"{artifact}: the graph for nvinfer computes other masks, by up to {worst:g} of 255 "
            f"levels: export it again with this version"
        )
