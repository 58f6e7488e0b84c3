"""Sensitivity of the self-test of artifacts to shuffled weights, module by module.

For each module: the difference from the references, as a fraction of its tolerance (above 1 fails),
and the change of the masks of the photographs in assets/.  A module whose shuffled
weights hardly change a mask may pass.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import make_parser, write
from numpy.typing import NDArray
from onnx import numpy_helper

import dsunet_runtime
from dsunet_runtime import Manifest, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.manifest_file import encode_manifest
from dsunet_runtime.selftest.comparison import run_selftest

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "assets").glob("*.jpg"))
_MODULE = re.compile(r"[a-z]+(?:\.[a-z]+)*\.\d+|[a-z]+(?:\.\w+)?")
"""A block of an encoder, an RFB, a stage: the name of a tensor up to its first number."""
_SMALLEST = 8
"""Elements; constants of the graph are smaller."""

Masks = list[NDArray[np.uint8]]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "artifacts",
        nargs="+",
        type=Path,
        help="Artifacts in frames form, with their weights inside.",
    )
    arguments = parser.parse_args()
    found = {path.stem: list(measure(path)) for path in arguments.artifacts}
    for name, modules in found.items():
        missed = [one["module"] for one in modules if one["excess"] <= 1]
        print(f"{name}: missed {len(missed)} of {len(modules)}: {', '.join(missed) or 'none'}")
    write("selftest_sensitivity", {"artifacts": found})


def measure(artifact: Path) -> Iterator[dict[str, Any]]:
    """Yield the result of each module, in the order of the graph."""
    model, manifest = onnx.load(artifact), read_manifest(artifact)
    del model.metadata_props[:]  # `run` writes the manifest again
    _, intact = run(model, manifest)
    generator = np.random.default_rng(0)
    for module, weights in modules_of(model).items():
        kept = [weight.SerializeToString() for weight in weights]
        shuffle(weights, generator)
        excess, masks = run(model, manifest)
        levels = max(
            float(np.abs(mask.astype(int) - whole).mean())
            for mask, whole in zip(masks, intact, strict=True)
        )
        yield {"module": module, "excess": excess, "mean_levels": levels}
        for weight, content in zip(weights, kept, strict=True):
            weight.ParseFromString(content)


def modules_of(model: onnx.ModelProto) -> dict[str, list[onnx.TensorProto]]:
    """Return the weights of the graph by their module."""
    modules: dict[str, list[onnx.TensorProto]] = {}
    types = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
    for weight in model.graph.initializer:
        match = _MODULE.match(weight.name)
        outside = weight.name.startswith(("preprocess", "postprocess"))
        is_weight = weight.data_type in types and np.prod(weight.dims) >= _SMALLEST
        if match and is_weight and not outside:
            modules.setdefault(match[0], []).append(weight)
    return modules


def shuffle(weights: Sequence[onnx.TensorProto], generator: np.random.Generator) -> None:
    """Permute the elements of each tensor."""
    for weight in weights:
        values = numpy_helper.to_array(weight)
        mixed = generator.permutation(values.ravel()).reshape(values.shape)
        weight.CopyFrom(numpy_helper.from_array(mixed, weight.name))


def run(model: onnx.ModelProto, manifest: Manifest) -> tuple[float, Masks]:
    """Return the largest excess of the self-test, and the masks of the photographs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shuffled.onnx"
        path.write_bytes(model.SerializeToString())
        sealed = dataclasses.replace(manifest, graph=digest(path))
        with path.open("ab") as file:
            file.write(encode_manifest(sealed))
        with dsunet_runtime.load(path, selftest="never") as segmenter:
            excess = max(one.excess for one in run_selftest(segmenter))
            return min(excess, 1e9), [segmenter(photograph) for photograph in PHOTOGRAPHS]


if __name__ == "__main__":
    main()
