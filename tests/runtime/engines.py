"""Artifacts with an "engine" for `fake_tensorrt`, and what goes with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsunet_runtime import Manifest, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.flavor import Flavor, this_platform
from dsunet_runtime.artifact.manifest import Engine, OptimizationProfile, PrecisionReport
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from tests.runtime import artifacts, fake_tensorrt
from tests.runtime.fake_cuda import GPU

Ends = tuple[int, int, int]


def frames(
    path: Path,
    *,
    batch: Ends = (1, 2, 4),
    height: Ends = (1, 16, 64),
    width: Ends = (1, 16, 64),
    stripped: bool = False,
    layers: Sequence[dict[str, Any]] = (),
    **changes: Any,
) -> Path:
    """An engine that computes `artifacts.expected_frames_mask`, beside the ONNX file that it is of.

    `layers` is what TensorRT's inspector tells, with milliseconds; `changes` are made to the
    manifest's `Engine`.
    """
    low, best, high = zip(batch, height, width, (3, 3, 3), strict=True)
    tensors = {
        "image": tensor("INPUT", "uint8", [-1, -1, -1, 3], [low, best, high]),
        "mask": tensor("OUTPUT", "uint8", [-1, -1, -1]),
    }
    weights = None if stripped else [1 / 8, 2 / 8, 5 / 8]
    graph = artifacts.frames(path.with_suffix(".onnx"))
    document = {"tensors": tensors, "weights": weights, "layers": list(layers)}
    return _save(path, graph, document, weights_stripped=stripped, **changes)


def tensors(path: Path, *, batch: Ends = (1, 2, 4), **changes: Any) -> Path:
    """An engine that computes `artifacts.expected_logits`."""
    described = {"logits": tensor("OUTPUT", "float32", [-1, 1, *[artifacts.HIERA] * 2])}
    for name, side in (("hiera", artifacts.HIERA), ("dino", artifacts.DINO)):
        ends = [(count, 3, side, side) for count in batch]
        described[name] = tensor("INPUT", "float32", [-1, 3, side, side], ends)
    graph = artifacts.tensors(path.with_suffix(".onnx"))
    return _save(path, graph, {"tensors": described, "weights": [1.5, -3, 6]}, **changes)


def tensor(mode: str, dtype: str, shape: list[int], profile: Any = None) -> dict[str, Any]:
    return {"mode": mode, "dtype": dtype, "shape": shape, "profile": profile}


def write_manifest(path: Path, manifest: Manifest) -> Path:
    engine_manifest_file(path).write_text(manifest.to_json(indent=1))
    return path


def describe(
    path: Path, graph: Path, profiles: tuple[OptimizationProfile, ...], **changes: Any
) -> Path:
    """Write the manifest of an engine of a graph; `changes` are made to its `Engine`."""
    engine = Engine(
        file=digest(path),
        flavor=Flavor.RTX,
        tensorrt_version=fake_tensorrt.VERSION,
        platform=this_platform(),
        compute_capabilities=(GPU.compute_capability,),
        gpus=(GPU.name,),
        weights_stripped=False,
        optimization_level=None,
        precision_report=PrecisionReport(1, 0, 12, 0),
        activation_bytes=None,
        weight_bytes=None,
    )
    source = read_manifest(graph)
    manifest = dataclasses.replace(
        source,
        graph=dataclasses.replace(source.graph, name=graph.name),
        profiles=profiles,
        engine=dataclasses.replace(engine, **changes),
    )
    return write_manifest(path, manifest)


def _save(path: Path, graph: Path, document: dict[str, Any], **changes: Any) -> Path:
    fake_tensorrt.write_engine(path, document)
    profiles = tuple(
        OptimizationProfile(name, *described["profile"])
        for name, described in document["tensors"].items()
        if described["mode"] == "INPUT"
    )
    return describe(path, graph, profiles, **changes)
