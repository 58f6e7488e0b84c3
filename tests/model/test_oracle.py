"""`large` against what the published codes of both networks compute with the same weights.

The weights are `fill_weights.py`'s, put under the published code's keys into a state of ours, so
the key names are checked too.  What that code computed is in tests/data/oracle_*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dsunet.network.model import build_empty
from tests.fill_weights import inputs
from tests.model.oracle import (
    DECODER_RMS_TOLERANCE,
    DECODER_TOLERANCE,
    ORACLES,
    SEED,
    TOLERANCE,
    Maps,
    Oracle,
)

_COMPUTED: dict[tuple[str, str], Maps] = {}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA that works here")
    return str(request.param)


def computed(oracle: Oracle, device: str) -> Maps:
    """All intermediate maps and outputs of ours, by the oracle's names; computed once."""
    key = (oracle.layout.network, device)
    if key not in _COMPUTED:
        _COMPUTED[key] = compute(oracle, device)
    return _COMPUTED[key]


def compute(oracle: Oracle, device: str) -> Maps:
    model = oracle.filled().to(device)
    found: Maps = {}

    def record(name: str, index: int | None) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            found[name] = (output if index is None else output[index]).cpu().numpy()

        return hook

    for name, (module, index) in oracle.maps.items():
        model.get_submodule(module).register_forward_hook(record(name, index))
    dino, hiera = (torch.from_numpy(image).to(device) for image in inputs(SEED))
    # cuDNN's convolutions are in TF32 otherwise.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        logits = model(hiera, dino)
    outputs = zip(oracle.outputs, logits, strict=True)
    return found | {name: output.cpu().numpy() for name, output in outputs}


def assert_agrees(oracle: Oracle, name: str, found: Any, expected: Any) -> None:
    errors = np.abs(found.astype(np.float64) - expected) / oracle.moments[name]["std"]
    if oracle.has_peaked_attention(name):
        assert errors.max() < DECODER_TOLERANCE
        assert np.sqrt((errors**2).mean()) < DECODER_RMS_TOLERANCE
    else:
        assert errors.max() < TOLERANCE


@pytest.mark.parametrize(
    ("network", "name"),
    [(network, name) for network, oracle in ORACLES.items() for name in oracle.moments],
)
def test_map_agrees_with_the_published_code(network: str, name: str, device: str) -> None:
    oracle = ORACLES[network]
    found, moments = computed(oracle, device)[name], oracle.moments[name]
    assert list(found.shape) == moments["shape"]
    evenly = np.linspace(0, found.size - 1, 512).astype(int)
    assert_agrees(oracle, name, found.ravel()[evenly], oracle.reference_maps()[name])
    assert abs(found.mean(dtype=np.float64) - moments["mean"]) < TOLERANCE * moments["std"]
    assert abs(found.std(dtype=np.float64) - moments["std"]) < TOLERANCE * moments["std"]


@pytest.mark.parametrize(
    ("network", "name"),
    [(network, name) for network, oracle in ORACLES.items() for name in oracle.outputs],
)
def test_every_pixel_of_the_outputs_agrees(network: str, name: str, device: str) -> None:
    oracle = ORACLES[network]
    expected = oracle.reference_maps()[f"{name}_full"]
    assert_agrees(oracle, name, computed(oracle, device)[name], expected)


@pytest.mark.parametrize("network", ORACLES)
def test_keys_and_shapes_are_those_of_the_published_code(network: str) -> None:
    oracle = ORACLES[network]
    state = build_empty(oracle.config).state_dict()
    ours = {oracle.layout.key(key): tuple(tensor.shape) for key, tensor in state.items()}
    theirs = {
        key: shape
        for key, (shape, _) in oracle.published_keys().items()
        if not oracle.layout.is_unused(key)
    }
    assert ours == theirs


@pytest.mark.parametrize("network", ORACLES)
def test_trained_parameters_are_those_of_the_published_code(network: str) -> None:
    oracle = ORACLES[network]
    parameters = dict(build_empty(oracle.config).named_parameters())
    trained = {
        oracle.layout.key(key) for key, parameter in parameters.items() if parameter.requires_grad
    }
    used = {key for key in oracle.published_keys() if not oracle.layout.is_unused(key)}
    assert trained == {key for key in used if oracle.published_keys()[key][1]}


@pytest.mark.parametrize(
    ("network", "trained", "of_all"),
    [("DSU-Net", 7_225_830, "1.38%"), ("SAM2-UNet", 4_380_595, "2.02%")],
)
def test_number_of_trained_parameters_is_the_papers(
    network: str, trained: int, of_all: str
) -> None:
    """SAM2-UNet's includes a fourth stage, which it never computes and which is left out here."""
    oracle = ORACLES[network]
    parameters = list(build_empty(oracle.config).parameters())
    unused = sum(
        int(np.prod(shape))
        for key, (shape, is_trained) in oracle.published_keys().items()
        if is_trained and oracle.layout.is_unused(key)
    )
    count = sum(p.numel() for p in parameters if p.requires_grad) + unused
    total = sum(p.numel() for p in parameters) + unused
    assert count == trained
    assert f"{count / total:.2%}" == of_all
    if network == "SAM2-UNet":
        assert total == 216_529_891
