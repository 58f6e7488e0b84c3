from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from dsunet import ConfigError, DSUNetConfig, Injection
from dsunet.config import PRESETS, DinoConfig, HieraConfig


def test_defaults_are_the_papers_network() -> None:
    config = DSUNetConfig()
    assert config == DSUNetConfig.preset("large")
    assert config.hiera.channels == (144, 288, 576, 1152)
    assert config.hiera.map_sizes == (88, 44, 22, 11)
    assert sum(config.hiera.stages) == 48
    assert (config.dino.embed_dim, config.dino.map_size) == (1024, 37)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("injection", Injection)
def test_json_round_trip_and_name(name: str, injection: Injection) -> None:
    config = DSUNetConfig.preset(name).replace(injection=injection)
    assert DSUNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.preset_name() == name


def test_nano_keeps_the_awkward_cases_of_large() -> None:
    """What makes `nano` worth testing with."""
    for name in ("large", "nano"):
        config = DSUNetConfig.preset(name)
        sizes, windows = config.hiera.map_sizes, config.hiera.window_sizes
        padded = [s for s, w in zip(sizes, windows, strict=True) if s % w]
        assert padded, "no window needs padding"
        assert sizes[3] % 2 == 1, "the wavelet transform pads nothing"
        assert config.dino.map_size % sizes[3], "the resampling is by a whole number"
        assert config.hiera.global_attention_blocks


def test_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'huge': choose one of large, .*nano"):
        DSUNetConfig.preset("huge")


def test_configuration_that_is_no_preset_has_no_name() -> None:
    assert DSUNetConfig(decoder_channels=48).preset_name() is None


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("hiera", {"image_size": 350}, "multiple of 32"),
        ("hiera", {"image_size": 352, "window_sizes": (7, 4, 14, 7)}, "first window"),
        ("hiera", {"embed_dim": 144, "num_heads": 5}, "5 heads"),
        ("hiera", {"embed_dim": 100}, "multiple of 8"),
        ("hiera", {"global_attention_blocks": (48,)}, r"\[48\] lie outside its 48 blocks"),
        ("hiera", {"stages": (2, 0, 36, 4)}, "hiera.stages .* must be positive"),
        ("dino", {"image_size": 500}, "patch size 14"),
        ("dino", {"num_heads": 7}, "7 heads"),
        ("dino", {"depth": 3}, "four levels"),
        ("", {"decoder_channels": 0}, "decoder_channels is 0: it must be positive"),
    ],
)
def test_impossible_numbers_are_refused(part: str, changes: dict[str, Any], message: str) -> None:
    parts: dict[str, HieraConfig | DinoConfig] = {"hiera": HieraConfig(), "dino": DinoConfig()}
    whole = {part: dataclasses.replace(parts[part], **changes)} if part else changes
    with pytest.raises(ConfigError, match=message):
        DSUNetConfig(**whole)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("colour",), 1, "unknown fields: colour"),
        (("hiera", "depth"), 1, "unknown fields: depth"),
        (("injection",), "first", "'first', which is no Injection"),
        (("injection",), ["last"], "which is no Injection"),
        (("hiera",), None, "not a group of fields"),
        (("hiera", "embed_dim"), "144", "embed_dim is '144', which is no int"),
        (("hiera", "embed_dim"), True, "which is no int"),
        (("hiera", "embed_dim"), 144.0, "which is no int"),
        (("hiera", "stages"), [2, 6, 36], "which is no tuple"),
        (("hiera", "stages"), [2, 6, 36, "4"], "which is no tuple"),
        (("dino", "image_size"), 15, "patch size"),
    ],
)
def test_from_dict_is_strict(path: tuple[str, ...], value: Any, message: str) -> None:
    values = DSUNetConfig().to_dict()
    target = values
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        DSUNetConfig.from_dict(values)


def test_from_dict_names_what_is_missing() -> None:
    values = DSUNetConfig().to_dict()
    del values["hiera"]["stages"]
    with pytest.raises(ConfigError, match="hiera lacks stages"):
        DSUNetConfig.from_dict(values)


def test_importing_dsunet_and_its_configuration_does_not_import_torch() -> None:
    code = "import dsunet, dsunet.config, dsunet.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
