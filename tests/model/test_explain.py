"""Maps, PCA and t-SNE of the encoders, and the figure of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet import CheckpointError, DSUNet, DSUNetConfig, Injection, random_model, save_model
from dsunet.cli import app
from dsunet.explain.figure import Colouring
from dsunet.explain.maps import WeightSource, feature_maps, open_encoders
from dsunet.explain.projections import (
    Embedding,
    embed,
    principal_colours,
    principal_components,
)
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD
from dsunet_runtime.extras import install_command
from dsunet_runtime.images.decode import encoder_input

FEW = ("--points", "12")  # t-SNE of more takes seconds


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture
def image(rgb: NDArray[np.uint8], tmp_path: Path) -> Path:
    Image.fromarray(rgb).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def normalised(rgb: NDArray[np.uint8], side: int) -> torch.Tensor:
    return torch.from_numpy(encoder_input(rgb, side, IMAGENET_MEAN, IMAGENET_STD))[None]


def two_halves() -> NDArray[np.float32]:
    """A map 8×10×12 whose left and right half lie far from each other."""
    values = np.random.default_rng(1).normal(size=(8, 10, 12)).astype(np.float32)
    values[:, :, 6:] += 30
    return values


class TestMaps:
    def test_are_those_that_pass_through_the_network(
        self, nano: DSUNet, rgb: NDArray[np.uint8]
    ) -> None:
        seen: list[torch.Tensor] = []
        assert nano.dino is not None
        vit = nano.dino.vit
        hooks = [
            block.register_forward_hook(lambda module, args, output: seen.append(output))
            for block in vit.blocks
        ]
        inputs = normalised(rgb, 160), normalised(rgb, 224)
        with torch.no_grad():
            hiera = nano.hiera(inputs[0])
            nano(*inputs)
        for hook in hooks:
            hook.remove()
        maps = feature_maps(nano, rgb)
        for found, expected in zip(maps["Hiera"], hiera, strict=True):
            np.testing.assert_array_equal(found.values, expected[0])
        # Four blocks, so that each is the end of a quarter; the first token is the class's.
        for found, output in zip(maps["DINOv2"], seen, strict=True):
            with torch.no_grad():
                tokens = vit.norm(output)[0, 1:]
            np.testing.assert_array_equal(found.values, tokens.T.reshape(96, 16, 16))

    def test_names(self, nano: DSUNet, rgb: NDArray[np.uint8]) -> None:
        maps = feature_maps(nano, rgb)
        titles = [f"{one.name}: {one.shape_in_words}" for level in maps.values() for one in level]
        assert titles[0] == "Hiera, level 1: 24×40×40"
        assert titles[3] == "Hiera, level 4: 192×5×5"
        assert titles[4:] == [f"DINOv2, block {block}: 96×16×16" for block in (1, 2, 3, 4)]

    def test_ablation_a_has_no_dinov2(self, rgb: NDArray[np.uint8]) -> None:
        config = DSUNetConfig.preset("nano").replace(injection=Injection.NONE)
        assert list(feature_maps(random_model(config), rgb)) == ["Hiera"]


class TestEncoders:
    def test_official_files_without_adapters(
        self, nano: DSUNet, rgb: NDArray[np.uint8], tmp_path: Path
    ) -> None:
        torch.save(nano.hiera.trunk.state_dict(), tmp_path / "sam2.pt")
        model, weights = open_encoders("nano", sam2=tmp_path / "sam2.pt")
        assert weights is WeightSource.ENCODERS
        assert model.dino is None
        with torch.no_grad():
            expected = nano.hiera.trunk(normalised(rgb, 160))  # SAM2's own forward
        for found, of_sam2 in zip(feature_maps(model, rgb)["Hiera"], expected, strict=True):
            np.testing.assert_allclose(found.values, of_sam2[0], rtol=0, atol=1e-5)

    def test_random(self) -> None:
        assert open_encoders("nano")[1] is WeightSource.RANDOM

    def test_dinov2_alone_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="sam2"):
            open_encoders("nano", dinov2=str(tmp_path / "dinov2.pth"))


class TestPCA:
    def test_equals_singular_value_decomposition(self) -> None:
        tokens = np.random.default_rng(2).normal(size=(200, 30)).astype(np.float32)
        tokens *= np.linspace(3, 1, 30, dtype=np.float32)
        components, fractions = principal_components(tokens, 3)
        centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
        u, s, axes = np.linalg.svd(centred, full_matrices=False)
        largest = axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)]
        # The eigenvectors of the covariance have half of the digits' accuracy at worst.
        np.testing.assert_allclose(components, (u * s)[:, :3] * np.sign(largest), atol=1e-7)
        np.testing.assert_allclose(fractions, s[:3] ** 2 / (s**2).sum(), rtol=1e-9)

    def test_sign_does_not_depend_on_the_order_of_positions(self) -> None:
        values = two_halves()
        colours = principal_colours(values).rgb.astype(int)
        mirrored = principal_colours(values[:, ::-1, ::-1]).rgb.astype(int)
        assert np.abs(mirrored[::-1, ::-1] - colours).max() <= 1  # rounding

    def test_colours_span_the_middle_of_each_component(self) -> None:
        values = np.random.default_rng(3).normal(size=(5, 20, 20)).astype(np.float32)
        values[:, 0, 0] = 1000  # an outlier must not darken the rest
        components, fractions = principal_components(values.reshape(5, -1).T, 3)
        found = principal_colours(values)
        assert found.rgb.shape == (20, 20, 3)
        assert found.variance == pytest.approx(fractions.sum())
        for channel in range(3):
            low, high = np.percentile(components[:, channel], (1, 99))
            levels = np.clip((components[:, channel] - low) / (high - low), 0, 1) * 255
            np.testing.assert_array_equal(
                found.rgb[:, :, channel], np.round(levels).reshape(20, 20)
            )

    @pytest.mark.parametrize("shape", [(8, 5, 5), (8, 1, 1), (8, 1, 2)])
    def test_maps_with_little_in_them(self, shape: tuple[int, int, int]) -> None:
        flat = principal_colours(np.full(shape, 0.3, np.float32))
        assert flat.rgb.shape == (*shape[1:], 3)
        assert not flat.rgb.any()
        assert flat.variance == 0
        assert not embed(np.full(shape, 0.3, np.float32), 100, 0).points.any()


class TestTSNE:
    def test_separates_two_clusters_and_keeps_their_places(self) -> None:
        found = embed(two_halves(), limit=1000, seed=0)
        assert len(found.points) == 120
        left, right = found.points[found.columns < 6], found.points[found.columns >= 6]
        assert len(left) == len(right) == 60
        gap = np.linalg.norm(left.mean(axis=0) - right.mean(axis=0))
        spread = max(np.linalg.norm(p - p.mean(axis=0), axis=1).max() for p in (left, right))
        assert gap > 2 * spread

    def test_the_same_every_time(self) -> None:
        first, second, other = (embed(two_halves(), limit=50, seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first.points, second.points)
        np.testing.assert_array_equal(first.rows, second.rows)
        assert not np.array_equal(first.rows, other.rows)

    def test_chooses_distinct_positions(self) -> None:
        found = embed(two_halves(), limit=50, seed=0)
        assert found.points.shape == (50, 2)
        places = list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))
        assert len(set(places)) == 50
        assert places == sorted(places)
        assert max(found.rows) < 10
        assert max(found.columns) < 12


class TestColouring:
    def test_of_a_mask_at_the_middle_of_each_cell(self) -> None:
        mask = np.zeros((40, 60), np.uint8)
        mask[:20, 30:] = 255
        places = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        colours = Colouring.of_mask("ground truth", mask).at(
            Embedding(np.zeros((4, 2)), *places), (9, 2, 2)
        )
        inside = (colours[:, 0] > colours[:, 2]).tolist()  # orange, not blue
        assert inside == [False, True, False, False]

    def test_of_position(self) -> None:
        rgb = Colouring.of_position(30, 50).rgb
        assert rgb.shape == (30, 50, 3)
        assert (np.diff(rgb[0, :, 0].astype(int)) >= 0).all()
        assert rgb[0, 0, 0] == rgb[0, 0, 1] == 0
        assert rgb[-1, -1, 0] == rgb[-1, -1, 1] == 255


class TestCommand:
    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["explain", *map(str, arguments)])

    def test_draws_the_same_figure_every_time(
        self, nano: DSUNet, image: Path, tmp_path: Path
    ) -> None:
        save_model(nano, tmp_path / "nano.safetensors")
        pictures = [tmp_path / "a.png", tmp_path / "b.png"]
        for picture in pictures:
            result = self.run(
                image, "--checkpoint", tmp_path / "nano.safetensors", "-o", picture, *FEW
            )
            assert result.exit_code == 0, result.output
            assert result.stdout == f"{picture}\n"
            assert result.stderr == ""
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
        with Image.open(pictures[0]) as drawn:
            assert drawn.format == "PNG"
            assert drawn.width / drawn.height == pytest.approx(5 / 4, rel=0.01)  # panels

    def test_random_encoders_and_a_mask(self, image: Path, tmp_path: Path) -> None:
        Image.new("L", (90, 60), 255).save(tmp_path / "mask.png")
        out = tmp_path / "a.png"
        result = self.run(
            image, "--preset", "nano", "--mask", tmp_path / "mask.png", "-o", out, *FEW
        )
        assert result.exit_code == 0, result.output
        assert "encoders are randomly initialised: their maps are meaningless" in result.stderr
        inside = (np.asarray(Image.open(out).convert("RGB")) == (230, 120, 20)).all(axis=2)
        assert inside.mean() > 0.02  # the panel of the mask

    @pytest.mark.parametrize(
        ("arguments", "code", "complaint"),
        [
            ((), 2, "either --checkpoint or --preset"),
            (("--checkpoint", "x", "--preset", "nano"), 2, "either --checkpoint or --preset"),
            (("--preset", "nano", "-o", "a.jpg"), 2, "-o a.jpg: the figure is a PNG file"),
            (("--preset", "none"), 2, "there is no preset 'none'"),
            (("--preset", "nano", "--mask", "IMAGE/../small.png"), 1, "its mask 9×6: give the"),
            (("--checkpoint", "none.pth"), 1, "none.pth"),
        ],
    )
    def test_refuses(
        self, image: Path, arguments: tuple[str, ...], code: int, complaint: str
    ) -> None:
        Image.new("L", (9, 6)).save(image.parent / "small.png")
        arguments = tuple(a.replace("IMAGE/..", str(image.parent)) for a in arguments)
        out = () if "-o" in arguments else ("-o", image.parent / "a.png")
        result = self.run(image, *arguments, *out)
        assert result.exit_code == code
        assert complaint in " ".join(result.stderr.replace("│", " ").split())
        assert not (image.parent / "a.png").exists()

    def test_refuses_what_is_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "x.jpg").write_text("none")
        result = self.run(tmp_path / "x.jpg", "--preset", "nano", "-o", tmp_path / "a.png")
        assert result.exit_code == 1
        assert result.stderr == (
            f"dsunet: {tmp_path}/x.jpg: not an image, or of an unsupported format\n"
        )

    @pytest.mark.parametrize(
        ("module", "package", "name"),
        [
            ("projections", "sklearn.decomposition", "scikit-learn"),
            ("figure", "matplotlib.figure", "matplotlib"),
        ],
    )
    def test_missing_extra_is_named(
        self, image: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str, name: str
    ) -> None:
        monkeypatch.delitem(sys.modules, f"dsunet.explain.{module}")
        monkeypatch.setitem(sys.modules, package, None)
        result = self.run(image, "--preset", "nano", "-o", image.parent / "a.png")
        assert result.exit_code == 1
        command = install_command("train")
        assert result.stderr == f"dsunet: {name} is not installed: {command}\n"

    def test_missing_torch_is_named(self, image: Path) -> None:
        program = (
            "import sys; sys.modules['torch'] = None\n"
            "from dsunet.cli import app\napp(prog_name='dsunet')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "explain", image, "--preset", "nano", "-o", "a.png"],
            check=False, capture_output=True, text=True, cwd=image.parent,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == f"dsunet: torch is not installed: {install_command('train')}\n"
