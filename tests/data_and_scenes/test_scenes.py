"""`make_scene`: the properties of every scene."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from dsunet.errors import DataError
from dsunet.scenes import Scene, SceneKind, make_scene

SIZE = (96, 128)
WITH_OBJECTS = (SceneKind.SALIENT, SceneKind.CAMOUFLAGED)


@pytest.fixture(scope="module")
def all_scenes() -> dict[SceneKind, list[Scene]]:
    """Forty scenes of each kind."""
    return {kind: [make_scene(seed, SIZE, kind) for seed in range(40)] for kind in WITH_OBJECTS}


@pytest.fixture(params=WITH_OBJECTS)
def scenes(request: pytest.FixtureRequest, all_scenes: dict[SceneKind, list[Scene]]) -> list[Scene]:
    """The scenes of one kind."""
    return all_scenes[request.param]


def test_what_a_scene_is(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (*SIZE, 3)
        assert scene.mask.shape == SIZE
        assert scene.image.dtype == scene.mask.dtype == np.uint8
        assert {*np.unique(scene.mask)} == {0, 255}


def test_share_of_the_image(scenes: list[Scene]) -> None:
    """Small and large objects, none that is lost and none that fills the image."""
    fractions = np.array([np.mean(scene.mask == 255) for scene in scenes])
    assert fractions.min() >= 0.02
    assert fractions.max() <= 0.75
    assert np.quantile(fractions, 0.1) < 0.12
    assert np.quantile(fractions, 0.9) > 0.25


def test_exposure_and_contrast(scenes: list[Scene]) -> None:
    """No scene is black, white or of one colour."""
    for scene in scenes:
        assert 25 < scene.image.mean() < 230
        assert scene.image.std() > 5


def test_the_middle_shows_more_of_the_object_than_the_corners(scenes: list[Scene]) -> None:
    masks = np.mean([scene.mask == 255 for scene in scenes], axis=0)
    corners = np.mean([masks[:16, :16], masks[:16, -16:], masks[-16:, :16], masks[-16:, -16:]])
    assert masks[36:60, 48:80].mean() > 2 * corners


def test_same_seed_same_pixels() -> None:
    for kind in SceneKind:
        first, again = (make_scene(11, (80, 80), kind) for _ in range(2))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.mask, again.mask)


def test_other_seed_other_scene(scenes: list[Scene]) -> None:
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    assert len({scene.mask.tobytes() for scene in scenes}) == len(scenes)


def test_kind_at_random() -> None:
    """A quarter of the scenes are camouflaged: 15 ± 10 of 60, three standard deviations."""
    kinds = [make_scene(seed, (32, 32)).kind for seed in range(60)]
    assert 5 <= kinds.count(SceneKind.CAMOUFLAGED) <= 25


def test_salient_objects_stand_out_more_than_camouflaged_ones(
    all_scenes: dict[SceneKind, list[Scene]],
) -> None:
    """Visibility is measured by colour histograms around the outline, not by the generator."""
    contrast = {kind: np.mean([*map(_contrast, all_scenes[kind])]) for kind in WITH_OBJECTS}
    assert contrast[SceneKind.SALIENT] > 1.5 * contrast[SceneKind.CAMOUFLAGED]
    assert contrast[SceneKind.CAMOUFLAGED] > 0.2  # nor are they invisible


def test_the_outline_shows_in_the_image(scenes: list[Scene]) -> None:
    """Neighbours across the outline differ more than neighbours elsewhere, in nearly every scene.

    With masks that do not belong to their images, they do in one half of the scenes.
    """
    shown = []
    for scene in scenes:
        grey = np.asarray(Image.fromarray(scene.image).convert("L"), np.float64)
        step = np.abs(np.diff(grey, axis=1))
        outline = np.diff(scene.mask.astype(int), axis=1) != 0
        shown.append(step[outline].mean() > step[~outline].mean())
    assert np.mean(shown) > 0.8


@pytest.mark.parametrize(
    ("seed", "size", "reason"),
    [
        (-1, (64, 64), "the seed is -1: it must be 0 or more"),
        (0, (64, 31), "is 31: it must be 32 pixels or more"),
    ],
)
def test_refusals(seed: int, size: tuple[int, int], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        make_scene(seed, size)


@pytest.mark.parametrize("size", [(32, 32), (33, 250), (211, 47)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    for seed in range(8):
        assert make_scene(seed, size).image.shape == (*size, 3)


def test_what_passes_in_front_is_not_in_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Occluders remove from a mask the pixels that show them, and no others."""
    from dsunet.scenes import scene as module

    monkeypatch.setattr(module, "_OCCLUDED", 0.0)
    free = [make_scene(seed, SIZE, SceneKind.SALIENT) for seed in range(12)]
    monkeypatch.setattr(module, "_OCCLUDED", 1.0)
    behind = [make_scene(seed, SIZE, SceneKind.SALIENT) for seed in range(12)]
    lost = [np.mean(b.mask[f.mask == 255] == 0) for f, b in zip(free, behind, strict=True)]
    assert not any((b.mask > f.mask).any() for f, b in zip(free, behind, strict=True))
    assert 0.02 < np.mean(lost) < 0.4


def _contrast(scene: Scene) -> float:
    """How far the colours inside are from those in a band outside: 0 the same, 1 none in common."""
    inside = scene.mask == 255
    band = binary_dilation(inside, iterations=10) & ~inside
    bins = (scene.image // 43).astype(int) @ np.array([36, 6, 1])
    histograms = [np.bincount(bins[part], minlength=216) / part.sum() for part in (inside, band)]
    return 0.5 * float(np.abs(histograms[0] - histograms[1]).sum())
