"""`large` against what the paper's published code computes with the same weights.

The weights are `fill_weights.py`'s, put under the published code's keys into a state of ours, so
the key names are checked too.  What that code computed is in
tests/data/oracle_reference.*.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dsunet import DSUNetConfig
from dsunet.model import build_empty
from dsunet.public_layout import HAAR_KEYS, MASK_TOKEN_KEY, public_key
from tests.fill_weights import inputs
from tests.model.oracle import (
    DATA,
    DECODER_RMS_TOLERANCE,
    DECODER_TOLERANCE,
    SEED,
    Maps,
    filled_large,
    reference_maps,
)

TOLERANCE = 1e-4
"""Largest difference in a map before the decoder, as a part of the map's standard deviation.
Float32 in another order of additions gives up to 7e-6; room is left for other processors."""

MAPS = {
    **{f"hiera{level + 1}": ("hiera", level) for level in range(4)},
    "dino": ("dino", 0),
    "wavelet": ("inject.3.wavelet", None),
    "cga": ("inject.3.cga", None),
    **{f"rfb{level + 1}": (f"rfb.{level}", None) for level in range(4)},
    **{f"sff{stage + 1}": (f"sff.{stage}", None) for stage in range(3)},
}
"""The oracle's name of every intermediate map: our module, and which of its outputs."""


@pytest.fixture(scope="module")
def reference() -> Maps:
    return reference_maps()


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def computed(request: pytest.FixtureRequest) -> Maps:
    """All intermediate maps and outputs of ours, by the oracle's names."""
    device = request.param
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA that works here")
    model = filled_large().to(device)
    found: Maps = {}

    def record(name: str, index: int | None) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            found[name] = (output if index is None else output[index]).cpu().numpy()

        return hook

    for name, (module, index) in MAPS.items():
        model.get_submodule(module).register_forward_hook(record(name, index))
    dino, hiera = (torch.from_numpy(image).to(device) for image in inputs(SEED))
    # cuDNN's convolutions are in TF32 otherwise.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        logits = model(hiera, dino)
    return found | {
        "out1": logits.coarse.cpu().numpy(),
        "out2": logits.middle.cpu().numpy(),
        "out3": logits.fine.cpu().numpy(),
    }


MOMENTS: dict[str, dict[str, Any]] = json.loads((DATA / "oracle_reference.json").read_text())


def assert_agrees(name: str, found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    errors = np.abs(found.astype(np.float64) - expected) / MOMENTS[name]["std"]
    if name.startswith(("sff", "out")):
        assert errors.max() < DECODER_TOLERANCE
        assert np.sqrt((errors**2).mean()) < DECODER_RMS_TOLERANCE
    else:
        assert errors.max() < TOLERANCE


@pytest.mark.parametrize("name", MOMENTS)
def test_map_agrees_with_the_published_code(name: str, computed: Maps, reference: Maps) -> None:
    found, moments = computed[name], MOMENTS[name]
    assert list(found.shape) == moments["shape"]
    evenly = np.linspace(0, found.size - 1, 512).astype(int)
    assert_agrees(name, found.ravel()[evenly], reference[name])
    assert abs(found.mean(dtype=np.float64) - moments["mean"]) < TOLERANCE * moments["std"]
    assert abs(found.std(dtype=np.float64) - moments["std"]) < TOLERANCE * moments["std"]


@pytest.mark.parametrize("name", ["out1", "out2", "out3"])
def test_every_pixel_of_the_outputs_agrees(name: str, computed: Maps, reference: Maps) -> None:
    assert_agrees(name, computed[name], reference[f"{name}_full"])


def reference_keys() -> dict[str, tuple[tuple[int, ...], bool]]:
    """The published code's keys: shape, and whether it is trained."""
    keys = {}
    for line in (DATA / "oracle_reference_keys.txt").read_text().splitlines():
        key, shape, mark = line.split()
        sizes = () if shape == "scalar" else tuple(map(int, shape.split("x")))
        keys[key] = (sizes, mark == "trained")
    return keys


def test_keys_and_shapes_are_those_of_the_published_code() -> None:
    state = build_empty(DSUNetConfig.preset("large")).state_dict()
    ours = {public_key(key): tuple(tensor.shape) for key, tensor in state.items()}
    theirs = {key: shape for key, (shape, _) in reference_keys().items()}
    for key in (*HAAR_KEYS, MASK_TOKEN_KEY):
        del theirs[key]
    assert ours == theirs


def test_trained_parameters_are_the_papers() -> None:
    parameters = dict(build_empty(DSUNetConfig.preset("large")).named_parameters())
    trained = {key for key, parameter in parameters.items() if parameter.requires_grad}
    marked = {key for key, (_, is_trained) in reference_keys().items() if is_trained}
    assert {public_key(key) for key in trained} == marked
    count = sum(parameters[key].numel() for key in trained)
    total = sum(parameter.numel() for parameter in parameters.values())
    assert count == 7_225_830
    assert f"{count / total:.2%}" == "1.38%"
