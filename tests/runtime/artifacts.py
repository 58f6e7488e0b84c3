"""Small artifacts with known arithmetic, built with the onnx package alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.manifest import (
    STRETCH_EPSILON,
    InputForm,
    Manifest,
    MaskForm,
    Precision,
    Preprocessing,
    TensorSpec,
)
from dsunet_runtime.artifact.manifest_file import encode_manifest, read_manifest

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HIERA, DINO = 16, 14
FRAMES_WEIGHTS = np.float32([1, 2, 5]) / np.float32(8)

Dimension = int | str


def frames(
    path: Path,
    *,
    batch: Dimension = "batch",
    height: Dimension = "height",
    width: Dimension = "width",
    external: bool = False,
    weights: NDArray[np.float32] = FRAMES_WEIGHTS,
    **changes: Any,
) -> Path:
    """An artifact of the frames form; `expected_frames_mask` returns what it computes."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "weights"], ["weighted"]),
        helper.make_node("Cast", ["weighted"], ["mask"], to=TensorProto.UINT8),
    ]
    image = TensorSpec("image", "uint8", (batch, height, width, 3), "NHWC", "0 to 255, RGB")
    mask = TensorSpec("mask", "uint8", (batch, height, width), "NHW", "0 to 255")
    manifest = _manifest(InputForm.FRAMES, (image,), (mask,), ("hiera", "dino"))
    manifest = dataclasses.replace(manifest, **{"mask_form": MaskForm.PROBABILITY, **changes})
    return _save(path, nodes, {"weights": weights}, (image,), (mask,), manifest, external)


def bfloat16_frames(path: Path) -> Path:
    """Like `frames`, with a matmul in bfloat16, which is exact up to the rounding of its result."""
    frames(path, precision=Precision(compute="bfloat16"))
    model, manifest = onnx.load(path), read_manifest(path)
    (weights,) = model.graph.initializer
    # As raw data, like real artifacts: OpenVINO misreads bfloat16 in the field `int32_data`.
    upper = (FRAMES_WEIGHTS.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    weights.CopyFrom(
        helper.make_tensor("weights", TensorProto.BFLOAT16, weights.dims, upper, raw=True)
    )
    to_float, matmul, to_integer = model.graph.node
    narrow = helper.make_node("Cast", ["float"], ["narrow"], to=TensorProto.BFLOAT16)
    wide = helper.make_node("Cast", ["weighted"], ["wide"], to=TensorProto.FLOAT)
    matmul.input[0], to_integer.input[0] = "narrow", "wide"
    nodes = [to_float, narrow, matmul, wide, to_integer]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return write(path, model, manifest)


def expected_frames_mask(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(R + 2 G + 5 B) / 8, truncated; exact in float32, and colours have an order."""
    red, green, blue = np.moveaxis(rgb.astype(int), -1, 0)
    return ((red + 2 * green + 5 * blue) // 8).astype(np.uint8)


def tensors(
    path: Path, *, batch: Dimension = "batch", dino: bool = True, scale: float = 3, **changes: Any
) -> Path:
    """An artifact of the tensors form; `expected_logits` returns what it computes."""
    weights = np.array([0.5, -1, 2], np.float32).reshape(1, 3, 1, 1) * np.float32(scale)
    nodes = [helper.make_node("Conv", ["hiera", "weights"], ["convolved" if dino else "logits"])]
    inputs = (TensorSpec("hiera", "float32", (batch, 3, HIERA, HIERA), "NCHW", "normalised"),)
    if dino:
        nodes += [
            helper.make_node("ReduceMean", ["dino"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Add", ["convolved", "mean"], ["logits"]),
        ]
        inputs += (TensorSpec("dino", "float32", (batch, 3, DINO, DINO), "NCHW", "normalised"),)
    logits = TensorSpec("logits", "float32", (batch, 1, HIERA, HIERA), "NCHW", "any")
    manifest = _manifest(InputForm.TENSORS, inputs, (logits,), tuple(s.name for s in inputs))
    manifest = dataclasses.replace(manifest, **changes)
    return _save(path, nodes, {"weights": weights}, inputs, (logits,), manifest, external=False)


def stretching(path: Path, weights: NDArray[np.float32], **dimensions: Dimension) -> Path:
    """An artifact of the form `frames` that stretches each mask, as real ones do.

    Its logits are the product of a pixel, from 0 to 1, with three weights.
    """
    batch, height, width = (dimensions.get(name, name) for name in ("batch", "height", "width"))
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["levels"]),
        helper.make_node("ReduceMin", ["levels"], ["low"], axes=[1, 2], keepdims=1),
        helper.make_node("ReduceMax", ["levels"], ["high"], axes=[1, 2], keepdims=1),
        helper.make_node("Sub", ["high", "low"], ["range"]),
        helper.make_node("Add", ["range", "epsilon"], ["divisor"]),
        helper.make_node("Sub", ["levels", "low"], ["above"]),
        helper.make_node("Div", ["above", "divisor"], ["stretched"]),
        helper.make_node("Mul", ["stretched", "white"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["mask"], to=TensorProto.UINT8),
    ]
    image = TensorSpec("image", "uint8", (batch, height, width, 3), "NHWC", "0 to 255, RGB")
    mask = TensorSpec("mask", "uint8", (batch, height, width), "NHW", "0 to 255")
    manifest = _manifest(InputForm.FRAMES, (image,), (mask,), ("hiera", "dino"))
    constants = {
        "weights": weights,
        "white": np.float32([255]).reshape(()),
        "epsilon": np.float32([STRETCH_EPSILON]).reshape(()),
    }
    return _save(path, nodes, constants, (image,), (mask,), manifest, external=False)


def expected_logits(
    hiera: NDArray[np.float32], dino: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """For one image: 3×16×16, and 3×14×14 or None, to 16×16."""
    weighted = 3 * (0.5 * hiera[0] - hiera[1] + 2 * hiera[2])
    return weighted if dino is None else weighted + dino.mean()


def _manifest(
    form: InputForm,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    encoders: tuple[str, ...],
) -> Manifest:
    sides = {"hiera": HIERA, "dino": DINO}
    return Manifest(
        model={"preset": "test"},
        input_form=form,
        mask_form=MaskForm.STRETCHED,
        inputs=inputs,
        outputs=outputs,
        preprocessing=Preprocessing(
            form is InputForm.FRAMES, {name: sides[name] for name in encoders}, MEAN, STD
        ),
        weights_origin="test.pth",
        weights_are_random=False,
        checkpoint_sha256="0" * 64,
        macs=0,
        built_with={"onnx": onnx.__version__},
        graph=FileDigest("", 0, ""),
    )


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[np.float32]],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    manifest: Manifest,
    external: bool,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [_value_info(spec) for spec in inputs],
        [_value_info(spec) for spec in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if external:
        data = path.with_name(path.name + ".data")
        onnx.save_model(
            model, path, save_as_external_data=True, location=data.name, size_threshold=0
        )
        manifest = dataclasses.replace(manifest, files=(digest(data),))
    return write(path, model, manifest)


def write(path: Path, model: onnx.ModelProto, manifest: Manifest) -> Path:
    """A model with a manifest that has the hash of the bytes before it."""
    helper.set_model_props(model, {"author": "tests"})
    path.write_bytes(model.SerializeToString())
    manifest = dataclasses.replace(manifest, graph=digest(path))
    with path.open("ab") as file:
        file.write(encode_manifest(manifest))
    return path


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, dtype, spec.shape)
