"""Readers of ONNX files and engines."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime.artifact.manifest import (
    KeptInFloat32,
    NarrowedWeights,
    Peak,
    Precision,
    Quantization,
    Rewrite,
    Verification,
)
from tests.fuzz.harness import Sample, Target
from tests.fuzz.mutation import change_bytes, change_json, change_protobuf, change_sealed, one_of
from tests.runtime import artifacts, engines
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import FakeCuda
from tests.runtime.selftests import cases_for

_IMAGE = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)

_FULL: dict[str, Any] = {
    "model": {"hiera": {"image_size": 160, "stages": [1, 1, 3, 1]}, "injection": "last"},
    "precision": Precision(
        "float16",
        (KeptInFloat32("sff.*", "asked for", 3),),
        (Peak("hiera.1", 123.5, "random pixels"),),
        NarrowedWeights(10, 2, 1, 0),
        Quantization("int8", 3, 4, 100, 8, 0.01),
    ),
    "rewrites": (Rewrite("late padding", 1000, 900),),
    "verification": (Verification("random", "logits", 1e-5, 1e-6, 1e-3, 1e-4, "of the range"),),
    "selftest": cases_for(((4, 3),)),
}


def manifest(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`read_manifest` of ONNX files."""
    return Target(
        "manifest",
        dsunet_runtime.read_manifest,
        _onnx_samples(folder),
        (dsunet_runtime.RuntimeFault,),
    )


def artifact(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`load` of ONNX files, and a mask."""
    return Target("artifact", _masked, _onnx_samples(folder), (dsunet_runtime.RuntimeFault,))


def engine(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`load` of engines on a fake GPU, and a mask."""
    folder.mkdir()
    plain = engines.frames(folder / "a.engine", optimization_level=3)
    stripped = engines.frames(folder / "b.engine", stripped=True)
    changes = {".json": change_json, ".engine": change_bytes, ".onnx": change_protobuf}
    sealed = {".json": change_sealed}
    return Target(
        "engine",
        _masked_on_gpu,
        [
            _sample(plain, changes, ("a.engine.json", "a.engine")),
            _sample(stripped, changes, ("b.engine.json", "b.engine", "b.onnx")),
            # Not the stripped one: the fake does not model TensorRT's reaction to an engine without
            # weights whose forged manifest has them.
            _sample(plain, sealed, ("a.engine.json",), is_protected=False),
        ],
        (dsunet_runtime.RuntimeFault,),
    )


def _masked(path: Path) -> Any:
    with dsunet_runtime.load(path) as segmenter:
        return segmenter.manifest, segmenter(_IMAGE).tolist()


def _masked_on_gpu(path: Path) -> Any:
    """Use a new GPU for each case."""
    with pytest.MonkeyPatch.context() as patch:
        Machine(FakeCuda(), patch)
        return _masked(path)


def _onnx_samples(folder: Path) -> list[Sample]:
    folder.mkdir()
    changes = {".onnx": one_of(change_protobuf, change_bytes), ".data": change_bytes}
    paths = [
        artifacts.frames(folder / "frames.onnx", **_FULL),
        artifacts.tensors(folder / "tensors.onnx", **_FULL),
        artifacts.frames(folder / "external.onnx", external=True),
    ]
    sealed = {".onnx": functools.partial(change_protobuf, change_document=change_sealed)}
    return [
        *(
            _sample(path, changes, tuple(p.name for p in folder.glob(f"{path.name}*")))
            for path in paths
        ),
        *(_sample(path, sealed, (path.name,), is_protected=False) for path in paths),
    ]


def _sample(
    path: Path, changes: dict[str, Any], names: tuple[str, ...], *, is_protected: bool = True
) -> Sample:
    """Make a sample of the files beside a path; those of `names` may be changed."""
    found = path.parent.glob(f"{path.stem}.*")
    return Sample(
        path.name,
        {file.name: file.read_bytes() for file in found},
        {name: changes[Path(name).suffix] for name in names},
        is_protected,
    )
