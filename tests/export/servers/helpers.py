"""Artifacts and commands for the tests of the files for servers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from dsunet_export.cli import app
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import SelfTestCase
from dsunet_runtime.selftest.coarse import Coarse, case_of
from dsunet_runtime.selftest.pictures import picture
from tests.export.helpers import one_line
from tests.runtime import artifacts


def triton(*arguments: object) -> Result:
    """`dsunet-export triton`, in this process."""
    return CliRunner().invoke(app, ["triton", *map(str, arguments)])


def written(*arguments: object) -> Result:
    result = triton(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: object, code: int = 1) -> str:
    """The line of a command that writes nothing."""
    result = triton(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return one_line(result.stderr)


def frames(path: Path, weights: NDArray[np.float32] = artifacts.FRAMES_WEIGHTS, **how: Any) -> Path:
    """An artifact of the frames form with a self-test, of what `weighted` computes."""
    sizes = [(120, 160), (120, 160), (211, 97)]
    if isinstance(how.get("height"), int):
        sizes = [(how["height"], how["width"])] * 3
    cases = tuple(_case(number, size, weights) for number, size in enumerate(sizes))
    return artifacts.frames(path, weights=weights, selftest=cases, **how)


def _case(number: int, size: tuple[int, int], weights: NDArray[np.float32]) -> SelfTestCase:
    mask = weighted(picture(number, *size), weights)
    return case_of(number, size, Coarse.of(mask), 0.1, 0.1)


def weighted(rgb: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The mask of an artifact of `frames`."""
    eighths = np.round(weights * 8).astype(int)
    return (rgb.astype(int) @ eighths // 8).astype(np.uint8)


def renamed(artifact: Path, path: Path, **changes: Any) -> Path:
    """An artifact with a changed manifest; its external weights stay where they are."""
    model = onnx.load(artifact, load_external_data=False)
    del model.metadata_props[:]
    manifest = dataclasses.replace(read_manifest(artifact), **changes)
    return artifacts.write(path, model, manifest)
