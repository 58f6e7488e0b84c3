"""The parts of scenes, compared with formulas and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from dsunet.scenes.fields import blurred
from dsunet.scenes.figures import _FIGURES, FigureKind
from dsunet.scenes.materials import random_material
from dsunet.scenes.noise import band, cells, cloud
from dsunet.scenes.outlines import coverage, ellipse, limb
from dsunet.scenes.palettes import distance, natural_ramp
from dsunet.scenes.textures import ANY, Family, random_texture

SHAPE = (90, 130)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_coverage_is_an_area() -> None:
    """The area of an ellipse and of a capsule; corners and 9 samples per pixel cost under 2 %."""
    round_ = coverage([ellipse(60, 45, 40, 30, 0.4)], SHAPE)
    assert round_.sum() == pytest.approx(np.pi * 40 * 30, rel=0.02)
    capsule = coverage(limb([(20.0, 40.0), (110.0, 40.0)], [12, 12]), SHAPE)
    assert capsule.sum() == pytest.approx(90 * 24 + np.pi * 12**2, rel=0.02)
    assert 0 < np.mean((round_ > 0) & (round_ < 1)) < 0.1


@pytest.mark.parametrize("sigma", [0.8, 1.7, 4.0, 12.0])
def test_blur_is_a_gaussian_or_nearly(rng: np.random.Generator, sigma: float) -> None:
    field = coverage([ellipse(60, 45, 30, 25)], SHAPE)
    exact = gaussian_filter(field, sigma, mode="nearest")
    # Of an edge from 0 to 1; reduced and enlarged again from 2 pixels on.
    np.testing.assert_allclose(blurred(field, sigma), exact, atol=0.02 if sigma < 2 else 0.08)


@pytest.mark.parametrize("frequency", [6.0, 20.0])
def test_noise_has_its_frequency(rng: np.random.Generator, frequency: float) -> None:
    """The strongest of its Fourier coefficients, averaged over directions, lie there."""
    power = np.abs(np.fft.fft2(band((128, 128), rng, frequency, 0.2))) ** 2
    cycles = np.fft.fftfreq(128) * 128
    radius = np.hypot(cycles[:, None], cycles[None, :])
    assert (power * radius).sum() / power.sum() == pytest.approx(frequency, rel=0.1)


def test_clouds_fall_off_as_asked(rng: np.random.Generator) -> None:
    """The logarithm of the amplitude falls with that of the frequency, at the given slope."""
    amplitude = np.abs(np.fft.fft2(cloud((256, 256), rng, 1.5)))
    cycles = np.fft.fftfreq(256) * 256
    radius = np.hypot(cycles[:, None], cycles[None, :])
    among = (radius > 4) & (radius < 100)
    slope, _ = np.polyfit(np.log(radius[among]), np.log(amplitude[among]), 1)
    assert slope == pytest.approx(-1.5, abs=0.1)


def test_cells(rng: np.random.Generator) -> None:
    """The second point is farther than the first, and there are about frequency² cells."""
    near, second, own = cells((128, 128), rng, 8, 0.3, 1.0)
    assert (second - near).min() > -0.05  # enlarged by a filter that overshoots
    assert near.max() < 1.6
    pieces, count = label(second - near > 0.2)
    assert 48 < count < 100  # 8², and those that the border cuts
    spread = [np.ptp(own[pieces == i]) for i in range(1, count + 1)]
    assert np.median(spread) < 0.05  # each cell has one value


@pytest.mark.parametrize("family", sorted(set(ANY), key=lambda family: family.__name__))
def test_patterns_fill_their_range(rng: np.random.Generator, family: Family) -> None:
    for _ in range(3):
        texture = random_texture(rng, (family,))
        values = texture.draw(texture, SHAPE, rng)
        assert values.shape == SHAPE
        assert values.dtype == np.float32
        assert -0.6 < values.min() < values.max() < 1.6
        assert values.std() > 0.02


@pytest.mark.parametrize("make", [make for make, _ in _FIGURES])
def test_figures_are_drawn_whole(rng: np.random.Generator, make: FigureKind) -> None:
    """All their parts touch: no limb floats beside its body."""
    for _ in range(4):
        figure = make(rng)
        solid = [
            p for part in figure.parts if not (part.hole or part.detail) for p in part.polygons
        ]
        everything = np.concatenate(solid)
        low, high = everything.min(0), everything.max(0)
        scale = 180 / (high - low).max()
        drawn = coverage([(points - low + 0.05) * scale for points in solid], (200, 200)) > 0.2
        pieces, count = label(drawn, np.ones((3, 3)))
        assert np.bincount(pieces[drawn]).max() > 0.97 * drawn.sum(), count


def test_related_materials_are_alike(rng: np.random.Generator) -> None:
    """Camouflaged objects are closer in colour than two independent natural materials."""
    apart, alike = [], []
    for _ in range(40):
        material = random_material(rng, ANY, natural_ramp(rng))
        alike.append(distance(material.related(rng, 0.5).ramp, material.ramp))
        apart.append(distance(natural_ramp(rng), material.ramp))
    assert 0.01 < np.median(alike) < 0.5 * np.median(apart)


def test_paint_takes_the_colours_of_its_material(rng: np.random.Generator) -> None:
    for _ in range(5):
        material = random_material(rng, ANY, natural_ramp(rng))
        colours = material.paint(SHAPE, rng)
        assert colours.shape == (*SHAPE, 3)
        spread = 6 * material.mottling + 0.01
        assert (colours > material.ramp.min(0) - spread).all()
        assert (colours < material.ramp.max(0) + spread).all()
