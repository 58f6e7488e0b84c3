"""The inputs of all results: checkpoint, images, versions and machine; available providers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from dsunet.evaluation.test_sets import TestSet
from dsunet_export.doctor.machine import inspect_machine
from dsunet_export.options import WeightsOrigin
from dsunet_runtime import __version__, processor
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.message_text import readable
from dsunet_runtime.prediction.jobs import images_at
from dsunet_runtime.provider import Provider

_PACKAGES = ("torch", "onnx", "onnxscript", "timm", "sam2", "pysodmetrics")


def starting_providers() -> list[Provider]:
    """Return the providers that start on this machine, ONNX Runtime on the CPU first."""
    found = inspect_machine().providers
    return [provider for provider in Provider if provider in found and found[provider].starts]


def describe_inputs(
    origin: WeightsOrigin,
    weights: str | None,
    test_sets: Sequence[TestSet],
    images: Path | None,
    seconds: float,
) -> dict[str, Any]:
    """Return the inputs of every result as plain values: hashes of files, versions, machine."""
    return {
        "checkpoint": origin.description,
        "checkpoint_sha256": origin.checkpoint_sha256,
        "weights": weights,
        "datasets": {
            readable(test_set.name): {
                "images": len(test_set.pairs),
                "sha256": _sha256(
                    path for pair in test_set.pairs for path in (pair.image, pair.mask)
                ),
            }
            for test_set in test_sets
        },
        "calibration_sha256": None if images is None else _sha256(images_at(images)),
        "seconds": seconds,
        "processor": processor.name(),
        "cores": os.cpu_count(),
        "versions": {
            "dsunet": __version__,
            "onnxruntime": onnxruntime.__version__,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def _sha256(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of files, in order."""
    hashed = hashlib.sha256()
    for path in paths:
        hashed.update(os.fsencode(f"{path.name} {digest(path).sha256}\n"))
    return hashed.hexdigest()
