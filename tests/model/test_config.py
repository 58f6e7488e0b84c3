from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from dsunet import ConfigError, DSUNetConfig, Injection
from dsunet.network.config import PRESETS, Decoder, DinoConfig, HieraConfig
from dsunet.network.model import build_empty
from dsunet.network.parameters import count_parameters, count_trainable_parameters


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
    """The special cases of `large` that `nano` has."""
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
        ("hiera", {"embed_dim": 144, "num_heads": 5}, "not divisible by hiera.num_heads, 5"),
        ("hiera", {"embed_dim": 100}, "multiple of 8"),
        ("hiera", {"global_attention_blocks": (48,)}, r"\[48\] are outside the range 0 to 47"),
        ("hiera", {"stages": (2, 0, 36, 4)}, "hiera.stages has 0: it must be from 1 to 256"),
        ("dino", {"image_size": 500}, "patch size 14"),
        ("dino", {"num_heads": 7}, "not divisible by dino.num_heads, 7"),
        ("dino", {"depth": 3}, "four levels"),
        ("dino", {"depth": 10**18}, "dino.depth has 1,000,000,000,000,000,000: .* 1 to 256"),
        (
            "dino",
            {"embed_dim": 10**5000},
            "dino.embed_dim has an integer of more than 64 bits: it must",
        ),
        ("hiera", {"image_size": 4128}, "hiera.image_size has 4,128: it must be from 1 to 4,096"),
        ("hiera", {"background_size": (7, 10**9)}, "background_size has 1,000,000,000: it must"),
        ("hiera", {"global_attention_blocks": (1,) * 2000}, "has 2,000 numbers: give fewer"),
        ("", {"decoder_channels": 0}, "decoder_channels has 0: it must be from 1 to 4,096"),
    ],
)
def test_impossible_numbers_are_refused(part: str, changes: dict[str, Any], message: str) -> None:
    parts: dict[str, HieraConfig | DinoConfig] = {"hiera": HieraConfig(), "dino": DinoConfig()}
    whole = {part: dataclasses.replace(parts[part], **changes)} if part else changes
    with pytest.raises(ConfigError, match=message):
        DSUNetConfig(**whole)


@pytest.mark.parametrize("injection", Injection)
@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_without_building(name: str, injection: Injection) -> None:
    config = DSUNetConfig.preset(name).replace(injection=injection)
    model = build_empty(config)
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count_trainable_parameters(config) == trained


@pytest.mark.parametrize("decoder", Decoder)
def test_parameters_of_a_network_with_no_two_sizes_alike(decoder: Decoder) -> None:
    hiera = HieraConfig(
        image_size=192, embed_dim=40, num_heads=5, stages=(2, 1, 3, 2), adapter_dim=11,
        global_attention_blocks=(4,), window_sizes=(6, 4, 10, 9), background_size=(5, 3),
    )  # fmt: skip
    dino = DinoConfig(image_size=120, patch_size=12, embed_dim=52, depth=5, num_heads=4)
    config = DSUNetConfig(hiera, dino, Injection.LEVELS, decoder, 24, 17)
    assert count_parameters(config) == sum(p.numel() for p in build_empty(config).parameters())


def test_largest_numbers_together_are_too_many_parameters() -> None:
    """Every number is checked against its range before anything is built."""
    dino = DinoConfig(embed_dim=8192, depth=256)
    with pytest.raises(
        ConfigError,
        match=r"has 206,\d{3},\d{3},\d{3} parameters, more than the limit of 10,000,",
    ):
        DSUNetConfig(dino=dino)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("colour",), 1, "unknown fields: colour"),
        (("hiera", "depth"), 1, "unknown fields: depth"),
        (
            ("injection",),
            "first",
            "^the configuration is not valid: injection is 'first', not one of last, none, levels",
        ),
        (("injection",), ["last"], r'injection is \["last"\], not one of last'),
        (("hiera",), None, "hiera is null, not an object"),
        (("hiera", "embed_dim"), "144", "hiera.embed_dim is '144', not an integer"),
        (("hiera", "embed_dim"), True, "hiera.embed_dim is true, not an integer"),
        (("hiera", "embed_dim"), 144.0, "hiera.embed_dim is 144.0, not an integer"),
        (("hiera", "stages"), [2, 6, 36], r"hiera.stages is \[2, 6, 36\], not a list of 4"),
        (("hiera", "stages"), [2, 6, 36, "4"], r"hiera.stages\[3\] is '4', not an integer"),
        (("dino", "image_size"), 15, "patch size"),
        (("dino", "depth"), 2**63, r"dino.depth has 9,223,372,036,854,775,808: .* 1 to 256"),
        (
            ("hiera", "embed_dim"),
            "\x1b[2J" + "x" * 10**6,
            r"hiera.embed_dim is '\\x1b\[2Jx+…', not",
        ),
        (("\x1b]0;" + "k" * 10**6,), 1, r": it has unknown fields: \\x1b\]0;k+…$"),
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
    code = "import dsunet, dsunet.network.config, dsunet.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
