"""The description of an artifact in its ONNX file, for people who open it without dsunet.

ONNX has a producer, a text (`doc_string`) and metadata entries, which viewers such as Netron show.
"""

from __future__ import annotations

import onnx_ir as ir

from dsunet_runtime import __version__
from dsunet_runtime.artifact.manifest import InputForm, Manifest, MaskForm, TensorSpec

PRODUCER = "dsunet"
_TITLE = "DSU-Net (arXiv:2503.21187): segmentation of salient and camouflaged objects."
_TO_MASK = {
    MaskForm.STRETCHED: "and stretched from its minimum and maximum to 0 and 255, truncated",
    MaskForm.PROBABILITY: "and multiplied by 255, rounded",
}


def describe_itself(model: ir.Model, manifest: Manifest) -> None:
    """Write producer, text and metadata entries into a graph, in place of those it has."""
    entries = {
        "inputs": "; ".join(map(_tensor, manifest.inputs)),
        "preprocessing": _preprocessing(manifest),
        "outputs": "; ".join(map(_tensor, manifest.outputs)),
        "postprocessing": _postprocessing(manifest),
        "precision": _precision(manifest),
        "weights": _weights(manifest),
    }
    lines = [_TITLE, *(f"{name.capitalize()}: {text}." for name, text in entries.items())]
    model.producer_name, model.producer_version = PRODUCER, __version__
    model.doc_string = "\n".join(lines)
    model.metadata_props.clear()
    model.metadata_props.update(entries)


def _tensor(spec: TensorSpec) -> str:
    shape = "×".join(map(str, spec.shape))
    return f"{spec.name}, {spec.dtype}, {shape} ({spec.layout}), {spec.range}"


def _preprocessing(manifest: Manifest) -> str:
    preprocessing = manifest.preprocessing
    where = "in" if preprocessing.in_graph else "not in"
    mean, std = (
        ", ".join(f"{value:g}" for value in values)
        for values in (preprocessing.mean, preprocessing.std)
    )
    sizes = " and ".join(f"{side}×{side} ({name})" for name, side in preprocessing.sizes.items())
    return (
        f"{where} the graph: the RGB image is resampled to {sizes} "
        "with an antialiased triangle filter on 8-bit values (Pillow's BILINEAR), divided by 255, "
        f"and normalised with mean {mean} and standard deviation {std} of red, green, blue"
    )


def _postprocessing(manifest: Manifest) -> str:
    where = "in" if manifest.input_form is InputForm.FRAMES else "not in"
    return (
        f"{where} the graph: the logits are resized to the image bilinearly (half-pixel centres), "
        f"put through a sigmoid {_TO_MASK[manifest.mask_form]}"
    )


def _precision(manifest: Manifest) -> str:
    quantized, compute = manifest.precision.quantized, manifest.precision.compute
    if quantized is None:
        return compute
    return (
        f"{quantized.matmuls} matrix multiplications in {quantized.data_type}, the rest in "
        f"{compute}"
    )


def _weights(manifest: Manifest) -> str:
    sha256 = manifest.checkpoint_sha256
    return manifest.weights_origin + (f", SHA-256 {sha256}" if sha256 else "")
