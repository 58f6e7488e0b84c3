"""Readers of a run's files: feature cache, state and configuration."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dsunet.data.samples import FLIPS
from dsunet.errors import DSUNetError
from dsunet.training import run as training_run
from dsunet.training.feature_cache import FeatureCache, map_sides
from dsunet.training.options import TrainingOptions
from dsunet.training.run_folder import RunConfig, RunFolder
from dsunet.training.state import Position, load_state, save_state
from dsunet_runtime import RuntimeFault
from tests.fuzz.harness import Sample, Target
from tests.fuzz.mutation import (
    Change,
    change_bytes,
    change_json,
    change_safetensors,
    change_torch_zip,
    forged,
    one_of,
)
from tests.fuzz.targets.checkpoints import digest_of
from tests.training.conftest import SMALL, run_config

_ERRORS = (DSUNetError, RuntimeFault)
_FLIP = FLIPS[1]
_RUN = "3" * 32


def features(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`FeatureCache.read` of one flip, which has a file of its own."""
    path = _cache(folder).path(0, _FLIP)
    generator = torch.Generator().manual_seed(0)
    channels = SMALL.dino.embed_dim
    maps = [
        [torch.randn(channels, side, side, generator=generator) for side in map_sides(SMALL)]
        for _ in FLIPS
    ]
    _cache(folder).write(0, maps)
    name = str(path.relative_to(folder))
    files = {name: path.read_bytes()}
    samples = _with_forged(name, files, one_of(change_safetensors, change_bytes))

    def read(entry: Path) -> Any:
        maps = _cache(entry.parents[1]).read(0, _FLIP)
        return {
            name: (value.shape, value.dtype, value.flatten().view(torch.uint8).numpy().tobytes())
            for name, value in maps.items()
        }

    return Target("features", read, samples, _ERRORS)


def _cache(folder: Path) -> FeatureCache:
    return FeatureCache(folder, SMALL, "0" * 64, "fp32", ("1" * 64,))


def state(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`load_state` into a run that was set up in the same way."""
    torch.manual_seed(0)
    model: Any = torch.nn.Linear(4, 3)  # the format does not depend on the model
    fabric = training_run.make_fabric(_options(folder))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    folder.mkdir()
    row = {"epoch": 1.0, "loss": 0.5, "lr": 1e-3}
    position = Position(epoch=1, step=2, losses=[0.5, 0.4, 0.3], counted=2, best=0.7, log=[row])
    network: Any = SimpleNamespace(model=model, extra_state=dict)
    save_state(folder / "state.pt", _RUN, network, optimizer, fabric, position)
    files = {"state.pt": (folder / "state.pt").read_bytes()}

    def read(path: Path) -> Any:
        fresh = torch.optim.AdamW(model.parameters())
        position = load_state(path, _RUN, network, fresh, fabric)
        moments = [
            (name, value.numpy().tobytes() if isinstance(value, torch.Tensor) else value)
            for of_one in fresh.state.values()
            for name, value in of_one.items()
        ]
        groups = [{k: v for k, v in g.items() if k != "params"} for g in fresh.param_groups]
        return (
            digest_of(model),
            dataclasses.asdict(position),
            moments,
            groups,
            torch.get_rng_state().sum(),
        )

    samples = _with_forged("state.pt", files, one_of(change_torch_zip, change_bytes))
    return Target("state", read, samples, _ERRORS)


def configuration(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`resume` of a run folder, until it would read the data."""
    found = types.SimpleNamespace(sha256="2" * 64)
    launched: list[tuple[TrainingOptions, RunConfig]] = []
    patch.setattr(training_run, "_check_folders", lambda options, folder: None)
    patch.setattr(training_run, "find_training_data", lambda options: found)
    patch.setattr(
        training_run, "_launch", lambda options, *others: launched.append((options, others[-1]))
    )
    options = _options(folder)
    RunFolder(folder).start(run_config(options.absolute()))
    files = {"config.json": (folder / "config.json").read_bytes()}

    def read(path: Path) -> Any:
        training_run.resume(path.parent)
        return launched.pop()

    samples = _with_forged("config.json", files, _change_configuration)
    return Target("configuration", read, samples, _ERRORS)


def _change_configuration(random: Random, data: bytes) -> bytes:
    """Make any change except a checksum of null, with which users mark edited files."""
    changed = change_json(random, data)
    return data if b'"checksum": null' in changed else changed


def _with_forged(name: str, files: dict[str, bytes], change: Change) -> list[Sample]:
    """Make samples of a damaged file, and of one with an updated checksum."""
    return [
        Sample(name, files, {name: change}, is_protected=True),
        Sample(name, files, {name: forged(change)}),
    ]


def _options(folder: Path) -> TrainingOptions:
    return TrainingOptions(
        output=folder,
        datasets=(folder / "data",),
        config=SMALL,
        epochs=2,
        batch=4,
        train_encoders=True,
        workers=0,
        clip=1.0,
    )
