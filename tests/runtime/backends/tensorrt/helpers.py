"""Engines with another manifest, and engines that load or do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import BackendError, read_manifest
from tests.runtime import artifacts, engines
from tests.runtime.test_segmenter import random_image

REBUILD = r"`dsunet-export trt \S*/a\.onnx -o \S*/a\.engine --flavor rtx --compute-capability"


def change_engine(path: Path, **changes: Any) -> None:
    """Fields of the manifest's engine."""
    manifest = read_manifest(path)
    assert manifest.engine is not None
    engines.write_manifest(
        path, dataclasses.replace(manifest, engine=dataclasses.replace(manifest.engine, **changes))
    )


def fails_to_load(path: Path, match: str, kind: type[Exception] = BackendError) -> None:
    with pytest.raises(kind, match=match) as caught:
        dsunet_runtime.load(path)
    assert "\n" not in str(caught.value)


def runs(path: Path) -> None:
    image = random_image(5, 4)
    with dsunet_runtime.load(path) as segmenter:
        np.testing.assert_array_equal(segmenter(image), artifacts.expected_frames_mask(image))
