from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dsunet import DSUNet, DSUNetConfig, Injection, load_model, random_model
from dsunet.checkpoints.checksum import PLACEHOLDER, write_with_checksum
from dsunet.checkpoints.pretrained import encoder_hashes, load_encoders
from dsunet.data.pairs import find_pairs
from dsunet.data.samples import FLIPS, Flip, SampleKey, Samples
from dsunet.errors import DataError, TrainingError
from dsunet.network.encoders import DinoEncoder
from dsunet.training import train
from dsunet.training.feature_cache import (
    FeatureCache,
    flipped_images,
    map_sides,
    resample_for_cache,
)
from dsunet.training.loss import stage_losses
from dsunet.training.options import TrainingOptions
from tests.damage import damaged
from tests.training.conftest import SMALL, EncoderFiles, small_run

CACHED = (Injection.LAST, Injection.LEVELS, Injection.ALL)


def frozen_run(dataset: Path, out: Path, files: EncoderFiles, **changes: Any) -> TrainingOptions:
    given = {"train_encoders": False, "sam2": files.sam2, "dinov2": files.dinov2, **changes}
    return small_run(dataset, out, **given)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of images of each call of DINOv2."""
    calls: list[int] = []
    forward = DinoEncoder.forward

    def counting(self: DinoEncoder, image: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(image))
        return forward(self, image)

    monkeypatch.setattr(DinoEncoder, "forward", counting)
    return calls


def test_training_is_the_same_but_for_half_precision(
    dataset: Path, tmp_path: Path, encoder_files: EncoderFiles, computed: list[int]
) -> None:
    logs = {}
    for name, cache in (("plain", None), ("cached", tmp_path / "cache")):
        computed.clear()
        train(frozen_run(dataset, tmp_path / name, encoder_files, cache=cache))
        with (tmp_path / name / "log.csv").open() as file:
            logs[name] = [float(row["loss"]) for row in csv.DictReader(file)]
    # All flips once, and after each epoch a sheet of six masks.
    assert sum(computed) == 4 * 7 + 2 * 6
    # Four steps; maps rounded to 11 bits move the loss by a tenth of their own error.
    assert logs["cached"] == pytest.approx(logs["plain"], rel=1e-3)


def from_maps(model: DSUNet, hiera: torch.Tensor, kept: Sequence[torch.Tensor]) -> Any:
    """The logits from an image for Hiera and DINOv2's cached maps."""
    return model.decode(model.fuse(model.hiera(hiera), kept), hiera.shape[2:])


@pytest.mark.parametrize("injection", CACHED)
def test_gradients_are_the_same_but_for_half_precision(injection: Injection) -> None:
    model = random_model(SMALL.replace(injection=injection), seed=2).train()
    generator = torch.Generator().manual_seed(0)
    hiera, dino = (torch.randn(2, 3, side, side, generator=generator) for side in (128, 98))
    mask = (torch.rand(2, 1, 128, 128, generator=generator) > 0.5).float()
    with torch.no_grad():
        kept = [
            one.half().float() for one in resample_for_cache(model.dino_maps(dino), model.config)
        ]
    gradients = []
    for logits in (lambda: model(hiera, dino), lambda: from_maps(model, hiera, kept)):
        model.zero_grad()
        stage_losses(logits(), mask).sum().backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat([one.flatten() for one in found]))
    plain, rounded = gradients
    # Maps are off by 2^-12 at most; batch norm and kinks (ReLU, maximum) make some more of it.
    assert 0 < (rounded - plain).norm() < 0.05 * plain.norm()


@pytest.mark.parametrize("injection", CACHED)
def test_logits_from_resample_for_cache_are_the_same_bit_for_bit(injection: Injection) -> None:
    """Resampling a map that was resampled already changes nothing."""
    model = random_model(SMALL.replace(injection=injection), seed=2)
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, side, side, generator=generator) for side in (128, 98)]
    with torch.inference_mode():
        whole = model(*images)
        kept = resample_for_cache(model.dino_maps(images[1]), model.config)
        from_kept = from_maps(model, images[0], kept)
    assert [one.shape[-1] for one in kept] == list(map_sides(model.config))
    assert all(torch.equal(a, b) for a, b in zip(whole, from_kept, strict=True))


def test_resampling_to_the_same_size_is_the_identity() -> None:
    for side in (4, 11, 37):
        values = torch.randn(2, 5, side, side)
        assert torch.equal(F.interpolate(values, (side, side), mode="bilinear"), values)


def test_keeps_what_is_smaller() -> None:
    large = DSUNetConfig()
    assert map_sides(large) == (11,)
    assert map_sides(large.replace(injection=Injection.LEVELS)) == (37, 37, 22, 11)
    assert map_sides(large.replace(injection=Injection.ALL)) == (37,)


def test_maps_are_those_of_the_flipped_image(
    dataset: Path, tmp_path: Path, encoder_files: EncoderFiles
) -> None:
    train(frozen_run(dataset, tmp_path / "run", encoder_files, cache=tmp_path / "c", epochs=1))
    pairs = find_pairs(dataset / "Image", dataset / "Mask").pairs
    cache = cache_of(tmp_path / "c", pairs[3].image, encoder_files)
    model = load_model(
        tmp_path / "run" / "checkpoint.safetensors",
        sam2=encoder_files.sam2,
        dinov2=encoder_files.dinov2,
    )
    for flip in FLIPS:
        image = Samples(pairs, {"dino": 98}, seed=0, flips=flip)[SampleKey(0, 3)]["dino"]
        with torch.inference_mode():
            (expected,) = resample_for_cache(model.dino_maps(image[None]), SMALL)
        found = cache.read(0, flip)["map0"].float()
        # Half precision: 11 bits; the batch of another size moves the last of float32.
        torch.testing.assert_close(found, expected[0], rtol=2**-10, atol=1e-5)


def cache_of(folder: Path, image: Path, files: EncoderFiles) -> FeatureCache:
    model = random_model(SMALL)
    load_encoders(model, sam2=files.sam2, dinov2=files.dinov2)
    encoder = encoder_hashes(model.state_dict())["dino"]
    return FeatureCache(
        folder, SMALL, encoder, "fp32", (hashlib.sha256(image.read_bytes()).hexdigest(),)
    )


def test_flips_are_in_the_order_of_their_names() -> None:
    image = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    expected = [image, image.flip(3), image.flip(2), image.flip(2, 3)]
    assert all(map(torch.equal, flipped_images(image), expected))


def test_a_later_run_computes_only_what_is_missing_or_damaged(
    dataset: Path, tmp_path: Path, encoder_files: EncoderFiles, computed: list[int]
) -> None:
    cache = tmp_path / "cache"
    run = frozen_run(dataset, tmp_path / "a", encoder_files, cache=cache, epochs=1)
    train(run)
    files = sorted(cache.rglob("*.safetensors"))
    assert len(files) == 7 * 4
    before = {file: file.read_bytes() for file in files}
    of_image = maps_of(cache, dataset, encoder_files)
    content = bytearray(before[of_image[1][3]])
    content[-3] ^= 0x10
    of_image[0][0].unlink()
    of_image[1][3].write_bytes(content)
    of_image[2][1].write_bytes(before[of_image[2][1]][:-100])
    of_image[3][2].write_bytes(b"")
    of_image[4][0].write_bytes(before[of_image[4][1]])  # another flip's

    computed.clear()
    train(frozen_run(dataset, tmp_path / "b", encoder_files, cache=cache, epochs=1))

    assert sum(computed) == 4 * 5 + 6
    # The numbers of a pass depend a little on which images go together, so: whole, and as long.
    assert {file: len(file.read_bytes()) for file in files} == {
        file: len(content) for file, content in before.items()
    }


def maps_of(cache: Path, dataset: Path, files: EncoderFiles) -> list[list[Path]]:
    """The files of each image, in the order of FLIPS."""
    images = sorted((dataset / "Image").iterdir())
    return [[cache_of(cache, image, files).path(0, flip) for flip in FLIPS] for image in images]


def test_other_weights_or_injections_have_maps_of_their_own(tmp_path: Path) -> None:
    caches = [
        FeatureCache(tmp_path, SMALL, "a", "fp32", ("i",)),
        FeatureCache(tmp_path, SMALL, "b", "fp32", ("i",)),
        FeatureCache(tmp_path, SMALL, "a", "bf16", ("i",)),
        FeatureCache(tmp_path, SMALL, "a", "fp32", ("j",)),
        FeatureCache(tmp_path, SMALL.replace(injection=Injection.ALL), "a", "fp32", ("i",)),
    ]
    names = {cache.path(0, flip) for cache in caches for flip in FLIPS}
    assert len(names) == len(caches) * len(FLIPS)


@pytest.fixture
def one_image(tmp_path: Path) -> FeatureCache:
    cache = FeatureCache(tmp_path, SMALL, "a", "fp32", ("i",))
    cache.write(0, [[torch.full((32, 4, 4), float(k))] for k in range(4)])
    return cache


def test_a_damaged_map_is_never_used(one_image: FeatureCache) -> None:
    """A change of type, shape or name, which are in the header, is detected too."""
    flip = Flip(False, True)
    path = one_image.path(0, flip)
    assert one_image.read(0, flip)["map0"].unique().tolist() == [2.0]
    for version in damaged(path.read_bytes(), 1000, seed=3, structure=300):
        path.write_bytes(version)
        with pytest.raises(DataError, match="it is damaged; resume the run to compute it again"):
            one_image.read(0, flip)
    assert one_image.missing() == [0]


@pytest.mark.parametrize("metadata", [b"null", b"[]", b'""', b'{"other":1}'])
def test_a_forged_header_is_refused(one_image: FeatureCache, metadata: bytes) -> None:
    """With a checksum that matches, and no metadata to say whose maps these are."""
    path = one_image.path(0, FLIPS[0])
    header = b'{"__metadata__":%s,"checksum":"%s"}' % (metadata, PLACEHOLDER.encode())
    content = len(header).to_bytes(8, "little") + header
    write_with_checksum(path, lambda beside: beside.write_bytes(content))
    with pytest.raises(DataError, match="it belongs to other data; resume the run to compute it"):
        one_image.read(0, FLIPS[0])


def test_another_map_is_never_used(one_image: FeatureCache) -> None:
    """An undamaged file under the name of another one."""
    one, other = (one_image.path(0, flip) for flip in FLIPS[:2])
    one.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="it belongs to other data; resume the run to compute it"):
        one_image.read(0, FLIPS[0])
    assert one_image.read(0, FLIPS[1])["map0"].unique().tolist() == [1.0]


def test_nothing_to_cache_is_reported_at_once(dataset: Path, tmp_path: Path) -> None:
    files = {"sam2": Path("x"), "cache": tmp_path / "cache"}
    with pytest.raises(TrainingError, match="give only one of them"):
        small_run(dataset, tmp_path / "run", **files)
