"""Each rewrite against the plain model: in float64 the two agree up to rounding."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from timm.layers.attention import Attention
from torch import Tensor

from dsunet import DSUNet, DSUNetConfig, random_model
from dsunet.network.config import Decoder, DinoConfig, Injection
from dsunet.network.encoders import build_hiera_encoder
from dsunet.network.model import build_empty
from dsunet_export.macs import count_macs
from dsunet_export.onnx import apply_rewrites
from dsunet_export.rewrites import REWRITES
from dsunet_export.rewrites.drop_unread_tokens import drop_unread_tokens, resampling_matrix
from dsunet_export.rewrites.explicit_attention import AttentionProjections, explicit_attention
from dsunet_export.rewrites.fold_positions import fold_positions
from dsunet_export.rewrites.fold_scales import fold_scales
from dsunet_export.rewrites.pad_after_projection import (
    PadAfterProjectionBlock,
    pad_after_projection,
)
from dsunet_export.rewrites.sff_on_tokens import sff_on_tokens
from tests.export.helpers import SMALL, example

EXACT = {torch.float64: 1e-9, torch.float32: 5e-4}
"""Largest difference of a logit in standard deviations.  Attention in the decoder magnifies what
rounding does by some thousand times."""

CONFIGS = {
    "nano": DSUNetConfig.preset("nano"),
    "small": SMALL,
    "unet": SMALL.replace(decoder=Decoder.UNET),
}

SAME_WORK = (fold_positions, fold_scales, explicit_attention, sff_on_tokens)
LESS_WORK = (pad_after_projection, drop_unread_tokens)


def all_of_them(model: DSUNet) -> None:
    for rewrite in REWRITES.values():
        rewrite(model)


@functools.cache
def plain_model(name: str, injection: Injection, dtype: torch.dtype) -> DSUNet:
    return random_model(CONFIGS[name].replace(injection=injection)).to(dtype)


def images(model: DSUNet) -> dict[str, Tensor]:
    dtype = next(model.parameters()).dtype
    return {name: x.to(dtype) for name, x in example(model.config, batch=2).items()}


@functools.cache
def plain_logits(name: str, injection: Injection, dtype: torch.dtype) -> tuple[Tensor, ...]:
    model = plain_model(name, injection, dtype)
    with torch.inference_mode():
        return model(**images(model))


def assert_same_function(
    rewrite: Callable[[DSUNet], None], name: str, injection: Injection, dtype: torch.dtype
) -> None:
    model = copy.deepcopy(plain_model(name, injection, dtype))
    rewrite(model)
    with torch.inference_mode():
        logits = model(**images(model))
    for result, expected in zip(logits, plain_logits(name, injection, dtype), strict=True):
        assert result.dtype == dtype
        assert (result - expected).abs().max() <= EXACT[dtype] * expected.std()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rewrite", [*SAME_WORK, *LESS_WORK])
def test_each_alone_is_exact(rewrite: Callable[[DSUNet], None], name: str) -> None:
    assert_same_function(rewrite, name, Injection.LAST, torch.float64)


@pytest.mark.parametrize("injection", Injection)
@pytest.mark.parametrize("name", CONFIGS)
def test_all_together_are_exact(name: str, injection: Injection) -> None:
    assert_same_function(all_of_them, name, injection, torch.float64)


@pytest.mark.parametrize("name", CONFIGS)
def test_all_together_in_float32(name: str) -> None:
    assert_same_function(all_of_them, name, Injection.LAST, torch.float32)


@pytest.mark.parametrize("rewrite", [*SAME_WORK, *LESS_WORK])
@pytest.mark.parametrize("injection", Injection)
def test_each_runs_for_every_injection(
    rewrite: Callable[[DSUNet], None], injection: Injection
) -> None:
    assert_same_function(rewrite, "small", injection, torch.float64)


def test_a_folded_bias_is_the_same_wherever_the_weights_lie() -> None:
    torch.manual_seed(1)
    attention = Attention(96, num_heads=3, qkv_bias=True)
    biases = set()
    for start in range(16):  # as in a mapped file, behind a header of another length
        for parameter in attention.parameters():
            parameter.data = _from(start, parameter.data)
        biases.add(bytes(AttentionProjections(attention).out.bias.detach().numpy()))
    assert len(biases) == 1


def _from(start: int, tensor: Tensor) -> Tensor:
    """Copy a tensor into memory that begins at the element with a number."""
    memory = torch.empty(start + tensor.numel(), dtype=tensor.dtype)
    return memory[start:].view_as(tensor).copy_(tensor)


def test_a_rewritten_model_does_not_share_changed_weights_with_a_checkpoint() -> None:
    """Weights may be mapped from a file: nothing is written into them."""
    model = random_model(SMALL)
    kept = dict(model.state_dict())
    before = {key: tensor.clone() for key, tensor in kept.items()}
    all_of_them(model)
    assert all(torch.equal(kept[key], before[key]) for key in kept)


class TestLatePadding:
    """The block itself, for more shapes than any preset has."""

    @pytest.mark.parametrize("window", [2, 3, 4, 7, 8, 16])
    @pytest.mark.parametrize("side", [2, 5, 9, 11, 22, 23])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_like_sam2(self, side: int, window: int, stride: int) -> None:
        windows, pooled = -(-side // window), -(-(side // stride) // (window // stride))
        if window % stride or windows != pooled:
            pytest.skip("SAM2's own block does not pool that")
        block = self.make_block(window, stride)
        x = torch.randn(2, side, side, 12, dtype=torch.float64)
        with torch.inference_mode():
            expected, result = block(x), PadAfterProjectionBlock(block)(x)
        assert result.shape == expected.shape
        assert (result - expected).abs().max() <= 1e-12 * expected.std()

    def make_block(self, window: int, stride: int) -> torch.nn.Module:
        torch.manual_seed(0)
        hiera = CONFIGS["nano"].hiera
        plain = build_hiera_encoder(hiera).trunk.blocks[0]
        block = type(plain)(
            dim=12,
            dim_out=24 if stride > 1 else 12,
            num_heads=3,
            q_stride=(stride, stride) if stride > 1 else None,
            window_size=window,
        )
        return block.double().eval()

    def test_which_blocks_of_large_are_padded(self) -> None:
        model = build_empty(DSUNetConfig())
        pad_after_projection(model)
        kinds = [isinstance(b, PadAfterProjectionBlock) for b in model.hiera.trunk.blocks]
        # Stage 3 from its second block, without the global ones, and all of stage 4.
        padded = set(range(9, 48)) - {23, 33, 43}
        assert {index for index, is_padded in enumerate(kinds) if is_padded} == padded


class TestNeededTokens:
    @pytest.mark.parametrize(("size", "new_size", "read"), [(37, 11, 21), (16, 5, 10), (14, 5, 10)])
    def test_rows_that_are_read(self, size: int, new_size: int, read: int) -> None:
        weights = resampling_matrix(size, new_size)
        assert int(weights.any(0).sum()) == read
        torch.testing.assert_close(weights.sum(1), torch.ones(new_size, dtype=weights.dtype))

    def test_nothing_to_drop_where_the_map_is_enlarged_or_all_of_it_is_read(self) -> None:
        for config in (CONFIGS["nano"].replace(injection=Injection.ALL), enlarging()):
            model = build_empty(config)
            block = model.dino.vit.blocks[-1]
            drop_unread_tokens(model)
            assert model.dino.vit.blocks[-1] is block

    def test_tokens_that_are_not_read_change_nothing(self) -> None:
        """What the rewrite rests on, seen in the plain model."""
        model = plain_model("nano", Injection.LAST, torch.float64)
        side = model.config.dino.map_size
        read = resampling_matrix(side, model.config.hiera.map_sizes[3]).any(0)
        dino_map = torch.randn(1, 96, side, side, dtype=torch.float64)
        other = torch.where(read[:, None] & read, dino_map, torch.randn(()).double())
        wavelet = model.inject["3"].wavelet
        with torch.inference_mode():
            assert torch.equal(wavelet(dino_map), wavelet(other))


def enlarging() -> DSUNetConfig:
    """A DINOv2 map of 4×4 for a Hiera map of 5×5."""
    dino = DinoConfig(image_size=28, patch_size=7, embed_dim=24, depth=4, num_heads=2)
    return SMALL.replace(dino=dino)


class TestMultiplyAdds:
    @pytest.mark.parametrize("config", CONFIGS.values())
    def test_rewrites_that_fold_leave_the_count(self, config: DSUNetConfig) -> None:
        model = build_empty(config).eval()
        plain = count_macs(model)
        for rewrite in (fold_scales, explicit_attention, sff_on_tokens):
            rewrite(model)
            assert count_macs(model) == plain

    def test_folding_positions_leaves_the_count(self) -> None:
        model = random_model(SMALL)
        plain = count_macs(model)
        fold_positions(model)
        assert count_macs(model) == plain

    @pytest.mark.parametrize("name", ["large", "tiny", "nano"])
    def test_savings_are_those_of_pencil_and_paper(self, name: str) -> None:
        model = build_empty(DSUNetConfig.preset(name))
        plain = count_macs(model)
        pad_after_projection(model)
        late = count_macs(model)
        assert plain - late == padding_work(model.config)
        drop_unread_tokens(model)
        assert late - count_macs(model) == unread_work(model.config)

    def test_large(self) -> None:
        config = DSUNetConfig()
        plain = count_macs(build_empty(config))
        assert plain == 650_434_594_898
        assert padding_work(config) == 26_336_378_880
        assert unread_work(config) == 12_326_961_152

    def test_what_is_recorded(self) -> None:
        model = random_model(CONFIGS["nano"])
        plain = count_macs(model)
        steps = apply_rewrites(model, plain)
        assert [step.name for step in steps] == list(REWRITES)
        assert steps[0].macs_before == plain
        assert steps[-1].macs_after == count_macs(model)
        for before, after in itertools.pairwise(steps):
            assert before.macs_after == after.macs_before
        saving = {step.name for step in steps if step.macs_after < step.macs_before}
        assert saving == {"pad-after-projection", "drop-unread-tokens"}


@pytest.mark.parametrize("key", REWRITES)
def test_key_module_and_function_share_a_name(key: str) -> None:
    rewrite = REWRITES[key]
    name = key.replace("-", "_")
    assert (rewrite.__name__, rewrite.__module__) == (name, f"dsunet_export.rewrites.{name}")


def padding_work(config: DSUNetConfig) -> int:
    """Multiply-adds that Hiera's blocks spend on projecting padding."""
    hiera, work, index = config.hiera, 0, 0
    for stage, depth in enumerate(hiera.stages):
        for place in range(depth):
            pools = stage > 0 and place == 0
            source = stage - 1 if pools else stage  # a stage's first block has the map before it
            if index not in hiera.global_attention_blocks:
                work += block_padding_work(
                    side=hiera.map_sizes[source],
                    window=hiera.window_sizes[source],
                    channels=(hiera.channels[source], hiera.channels[stage]),
                    stride=2 if pools else 1,
                )
            index += 1
    return work


def block_padding_work(side: int, window: int, channels: tuple[int, int], stride: int) -> int:
    """The same for one block with square windows: joint projection before, output after."""
    padded = -(-side // window) * window
    c, d = channels
    before = (padded**2 - side**2) * c * 3 * d
    after = ((padded // stride) ** 2 - (side // stride) ** 2) * d * d
    return before + after


def unread_work(config: DSUNetConfig) -> int:
    """Multiply-adds of the last ViT block for tokens nobody reads, less the resampling's own."""
    c, side, new = config.dino.embed_dim, config.dino.map_size, config.hiera.map_sizes[3]
    # Where the centres of the outputs lie; the middle one of odd sizes meets an input's exactly.
    centres = [Fraction((2 * k + 1) * side, 2 * new) - Fraction(1, 2) for k in range(new)]
    read = len({row for centre in centres for row in (math.floor(centre), math.ceil(centre))})
    tokens, unread = side * side + 1, side * side - read * read
    query, out, mlp = c * c, c * c, 2 * c * 4 * c
    attention = 2 * tokens * c
    resampling = c * (new * read * read + new * read * new)
    return unread * (query + out + mlp + attention) - resampling
