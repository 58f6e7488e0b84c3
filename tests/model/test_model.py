from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from dsunet import DSUNet, DSUNetConfig, Injection, random_model
from dsunet.network.decoders import SFF, MapAttention
from dsunet.network.fusion import CGA, RFB
from dsunet.network.model import build_empty

FROZEN = ("hiera.trunk.", "dino.")


def images(config: DSUNetConfig, count: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (config.hiera.image_size, config.dino.image_size)
    hiera, dino = (torch.randn(count, 3, size, size, generator=generator) for size in sizes)
    return hiera, dino


def test_outputs_are_named_and_finite(nano: DSUNet) -> None:
    with torch.inference_mode():
        logits = nano(*images(nano.config, 2))
    assert logits._fields == ("coarse", "middle", "fine")
    for name in logits._fields:
        out = getattr(logits, name)
        assert out.shape == (2, 1, 160, 160)
        assert out.isfinite().all()
        assert out.std() > 0.05


def test_images_of_a_batch_do_not_mix(nano: DSUNet) -> None:
    hiera, dino = images(nano.config, 2)
    with torch.inference_mode():
        both = nano(hiera, dino).fine
        alone = nano(hiera[1:], dino[1:]).fine
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("injection", Injection)
def test_ablations_run_and_train_the_right_parameters(injection: Injection) -> None:
    config = DSUNetConfig.preset("nano").replace(injection=injection)
    model = random_model(config)
    hiera, dino = images(config)
    with torch.inference_mode():
        out = model(hiera) if injection is Injection.NONE else model(hiera, dino)
    assert out.fine.shape == (1, 1, 160, 160)
    assert (model.dino is None) == (injection is Injection.NONE)
    assert tuple(map(int, model.inject)) == injection.hiera_levels
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert trained == {k for k, _ in model.named_parameters() if not k.startswith(FROZEN)}


def test_ablation_b_takes_four_different_levels_and_c_one() -> None:
    configs = {i: DSUNetConfig.preset("nano").replace(injection=i) for i in Injection}
    by_levels, by_last = (random_model(configs[i]) for i in (Injection.LEVELS, Injection.ALL))
    assert by_levels.dino is not None
    assert by_last.dino is not None
    by_last.load_state_dict(by_levels.state_dict())
    _, dino = images(configs[Injection.ALL])
    with torch.inference_mode():
        levels, last = by_levels.dino(dino), by_last.dino(dino)
    assert len(levels) == 4
    assert len(last) == 1
    torch.testing.assert_close(levels[3], last[0])
    assert not torch.allclose(levels[2], levels[3])


PARTS = (
    "hiera.trunk.pos_embed",
    "hiera.trunk.pos_embed_window",
    "hiera.trunk.blocks.0.attn.qkv.bias",
    "hiera.trunk.blocks.4.attn.proj.weight",
    "hiera.adapters.0.up.weight",
    "dino.vit.cls_token",
    "dino.vit.pos_embed",
    "dino.vit.blocks.0.ls1.gamma",
    "dino.vit.blocks.3.ls2.gamma",
    "inject.3.wavelet.depthwise.base_scale.weight",
    "inject.3.wavelet.depthwise.subband_scale.weight",
    "inject.3.wavelet.norm.running_var",
    "inject.3.cga.spatial_attention.weight",
    "inject.3.cga.channel_attention.2.weight",
    "inject.3.cga.pixel_attention.weight",
    *(f"rfb.{level}.branches.{branch}.{'' if branch == 0 else '3.'}0.weight"
      for level in range(4) for branch in range(4)),
    *(f"sff.{stage}.{part}" for stage in range(3)
      for part in ("query.0.0.0.weight", "key.1.0.0.weight", "value.0.0.weight")),
)  # fmt: skip


@pytest.fixture(scope="module")
def fine(nano: DSUNet) -> Tensor:
    with torch.inference_mode():
        return nano(*images(nano.config)).fine


@pytest.mark.parametrize("key", PARTS)
def test_every_part_of_a_random_model_matters(nano: DSUNet, fine: Tensor, key: str) -> None:
    """Zeros in a part must change the output, or a comparison of two forms would prove nothing."""
    zeros = {key: torch.zeros_like(nano.state_dict()[key])}
    with torch.inference_mode():
        changed = functional_call(nano, zeros, images(nano.config)).fine
    assert (fine - changed).abs().max() > 1e-3 * fine.std()


def test_random_model_depends_on_the_seed_alone(nano: DSUNet) -> None:
    again = random_model(nano.config, seed=1).state_dict()
    other = random_model(nano.config, seed=2).state_dict()
    for key, tensor in nano.state_dict().items():
        assert torch.equal(tensor, again[key])
        assert not tensor.is_floating_point() or not torch.equal(tensor, other[key])


def test_random_model_is_not_sensitive_to_rounding(nano: DSUNet, fine: Tensor) -> None:
    """Float32 itself must stay far below the tolerance of any comparison made with it."""
    exact = random_model(nano.config, seed=1).double()
    with torch.inference_mode():
        precise = exact(*(image.double() for image in images(nano.config))).fine
    assert (fine - precise).abs().max() < 1e-4 * fine.std()


def test_empty_model_of_large_is_built_at_once() -> None:
    start = time.monotonic()
    model = build_empty(DSUNetConfig.preset("large"))
    assert time.monotonic() - start < 5
    assert all(parameter.is_meta for parameter in model.parameters())


def test_building_has_no_side_effects() -> None:
    code = (
        "import sys\n"
        "from dsunet import DSUNetConfig, random_model\n"
        "random_model(DSUNetConfig.preset('nano'))\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'sam2'], 'sam2 was left behind'\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "assert not GlobalHydra.instance().is_initialized(), 'hydra is initialised'\n"
        "import sam2\n"
        "assert GlobalHydra.instance().is_initialized(), 'the real sam2 no longer works'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_modules_keep_the_shape_they_promise() -> None:
    x, y = torch.randn(2, 2, 16, 5, 5)
    with torch.inference_mode():
        assert CGA(16)(x, y).shape == x.shape
        rfb = RFB(16, 8).eval()(x)
        assert rfb.shape == (2, 8, 5, 5)
        assert rfb.min() >= 0
        fused = SFF(8, 4).eval()(rfb, torch.randn(2, 8, 11, 9))
        assert fused.shape == (2, 8, 11, 9)
        assert fused.min() >= 0


def test_map_attention_is_softmax_over_all_positions() -> None:
    query, key, value = torch.randn(3, 2, 8, 5, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.einsum("ncij,nckl->nijkl", query, key) / 8**0.5
    weights = weights.flatten(3).softmax(3).unflatten(3, (5, 4))
    expected = torch.einsum("nijkl,nckl->ncij", weights, value)
    torch.testing.assert_close(MapAttention()(query, key, value), expected)


def test_cga_blends_the_two_maps_by_a_weight_between_them() -> None:
    """The double sigmoid keeps the weight of the first map between 0.5 and 0.73."""
    cga = CGA(16)
    x, y = torch.randn(2, 1, 16, 5, 5)
    with torch.no_grad():
        cga.project.weight.copy_(torch.eye(16)[:, :, None, None])
        cga.project.bias.zero_()  # type: ignore[union-attr]
        weight = (cga(x, y) - x - 2 * y) / (x - y)
    assert weight.min() > 0.49
    assert weight.max() < 0.74
