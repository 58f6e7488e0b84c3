"""Scenes of cut-outs and photographs: `find_sources`, `make_scene` and `dsunet generate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from typer.testing import CliRunner

from dsunet.cli import app
from dsunet.data.checks import check_pairs
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import find_pairs
from dsunet.errors import DataError
from dsunet.scenes import Scene, SceneKind, Sources, find_sources, make_scene, write_scenes
from dsunet.scenes import scene as scene_module
from tests.data_and_scenes.sources import write_background, write_cutout, write_sources

SIZE = (96, 128)
runner = CliRunner()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def sources(folders: tuple[Path, Path]) -> Sources:
    return find_sources(*folders)


@pytest.fixture(scope="module")
def salient(sources: Sources) -> list[Scene]:
    return [make_scene(seed, SIZE, SceneKind.SALIENT, sources) for seed in range(30)]


@pytest.fixture(scope="module")
def camouflaged(sources: Sources) -> list[Scene]:
    return [make_scene(seed, SIZE, SceneKind.CAMOUFLAGED, sources) for seed in range(30)]


def redness(scene: Scene, where: np.ndarray) -> float:
    """Mean difference of red and blue where `where` is true."""
    values = scene.image[where].astype(float)
    return float((values[:, 0] - values[:, 2]).mean())


def test_what_a_composite_is(salient: list[Scene], camouflaged: list[Scene]) -> None:
    for scene in salient + camouflaged:
        assert scene.image.shape == (*SIZE, 3)
        assert scene.mask.shape == SIZE
        inside = np.mean(scene.mask >= 129)
        assert 0.02 <= inside <= 0.75
        assert {path.name for path in scene.foregrounds} <= {"red.png", "yellow.png"}
        assert {path.name for path in scene.backgrounds} <= {"blue.jpg", "grey.png"}
        assert scene.foregrounds
        assert scene.backgrounds
    used = {path.name for scene in salient for path in scene.foregrounds + scene.backgrounds}
    assert used == {"red.png", "yellow.png", "blue.jpg", "grey.png"}


def test_the_mask_is_where_the_cutout_is(salient: list[Scene]) -> None:
    """Red and yellow are inside the mask, eroded, and not outside of it, dilated.

    Light, shadow and camera effects do not change that; one camera in twenty takes grey images.
    """
    differences = []
    for scene in salient:
        inside = binary_erosion(scene.mask >= 129, iterations=2)
        outside = ~binary_dilation(scene.mask > 0, iterations=4)
        if inside.sum() > 20 and outside.sum() > 20:
            differences.append(redness(scene, inside) - redness(scene, outside))
    assert len(differences) > 25
    assert np.mean(np.array(differences) > 30) > 0.85


def test_camouflage_takes_the_colours_from_behind(
    salient: list[Scene], camouflaged: list[Scene]
) -> None:
    contrast = []
    for scenes in (salient, camouflaged):
        values = [
            redness(scene, scene.mask >= 200) - redness(scene, scene.mask == 0) for scene in scenes
        ]
        contrast.append(np.mean(np.abs(values)))
    assert contrast[1] < 0.35 * contrast[0]


def test_nothing_of_the_old_background_stays(salient: list[Scene]) -> None:
    """The transparent pixels of the cut-outs are bright green, which nothing else is."""
    for scene in salient:
        red, green, blue = (scene.image[..., channel].astype(int) for channel in range(3))
        assert np.mean((green > red + 60) & (green > blue + 60)) < 0.002


def test_masks_are_soft_at_edges_and_readable(salient: list[Scene]) -> None:
    """Nearly transparent pixels, which readers take for labels, are outside."""
    values = np.unique(np.concatenate([scene.mask.ravel() for scene in salient]))
    assert {0, 255} < {*values.tolist()}
    assert values[1] > 20
    assert len(values) > 50


def test_an_empty_scene(sources: Sources) -> None:
    for drawn_or_not in (sources, Sources()):
        scene = make_scene(3, SIZE, SceneKind.EMPTY, drawn_or_not)
        assert not scene.mask.any()
        assert scene.image.std() > 1
    for seed in range(10):
        assert not make_scene(seed, SIZE, SceneKind.EMPTY, sources).foregrounds


def test_occluders_hide_cutouts(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    for fraction in (0.0, 1.0):
        monkeypatch.setattr(scene_module, "_OCCLUDED", fraction)
        masks.append(
            [make_scene(seed, SIZE, SceneKind.SALIENT, sources).mask for seed in range(10)]
        )
    lost = [np.mean(b[f >= 129] < 129) for f, b in zip(*masks, strict=True)]
    assert 0.02 < np.mean(lost) < 0.4


def test_same_seed_same_pixels(sources: Sources) -> None:
    for kind in SceneKind:
        first, again = (make_scene(11, SIZE, kind, sources) for _ in range(2))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.mask, again.mask)


@pytest.mark.parametrize("given", ["foregrounds", "backgrounds"])
def test_one_of_the_two_is_drawn(folders: tuple[Path, Path], given: str) -> None:
    cutouts, photographs = folders
    sources = find_sources(
        cutouts if given == "foregrounds" else None,
        photographs if given == "backgrounds" else None,
    )
    for kind in SceneKind:
        scene = make_scene(4, SIZE, kind, sources)
        has_cutouts = given == "foregrounds" and kind is not SceneKind.EMPTY
        assert bool(scene.foregrounds) is has_cutouts
        assert bool(scene.backgrounds) is (given == "backgrounds")
        soft = len(np.unique(scene.mask)) > 2
        assert soft is has_cutouts


def test_cutouts_that_are_too_thin(tmp_path: Path) -> None:
    image = Image.new("RGBA", (400, 3), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 1, 400, 2))
    (tmp_path / "thin").mkdir()
    image.save(tmp_path / "thin" / "hair.png")
    with pytest.raises(
        DataError, match=r"thin: in 100 attempts, no cut-out covered 2% to 75%.*very thin"
    ):
        make_scene(0, (160, 160), SceneKind.SALIENT, find_sources(tmp_path / "thin", None))


def test_sources_are_checked_before_the_first_scene(tmp_path: Path) -> None:
    """All defects are listed, by kind."""
    cutouts, photographs = write_sources(tmp_path)
    write_background(cutouts / "opaque.png", (9, 9, 9))
    Image.new("RGBA", (30, 30), (1, 2, 3, 0)).save(cutouts / "nothing.png")
    (cutouts / "text.png").write_text("no image")
    write_cutout(photographs / "clear.png")
    (cutouts / "away.png").symlink_to("nowhere.png")
    with pytest.raises(DataError) as caught:
        write_scenes(
            tmp_path / "out", 2, foregrounds=cutouts, backgrounds=photographs, size=64, workers=1
        )
    message = str(caught.value)
    assert "1 without a transparent background; give them an alpha channel" in message
    assert "opaque.png: is opaque everywhere" in message
    assert "1 without an opaque pixel; remove them" in message
    assert "1 broken links; fetch their data" in message
    assert "nothing.png: is transparent everywhere" in message
    assert "text.png: not an image" in message
    assert "clear.png: has transparent pixels" in message
    assert not (tmp_path / "out" / "scenes.json").exists()
    assert not [*(tmp_path / "out").rglob("*.jpg")]


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_images(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    match = "absent: is not a folder" if folder == "absent" else "empty: no images in this folder"
    with pytest.raises(DataError, match=match):
        find_sources(None, tmp_path / folder)


class TestCommand:
    def test_writes_a_dataset(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        done = runner.invoke(
            app,
            [
                "generate", "-o", str(tmp_path / "out"), "--count", "8", "--size", "64",
                "--foregrounds", str(folders[0]), "--backgrounds", str(folders[1]),
                "--empty", "0.25", "--camouflaged", "0.5", "--workers", "1",
            ],
        )  # fmt: skip
        assert (done.exit_code, done.stderr) == (0, "")
        pairs = find_pairs(*find_dataset_folders(tmp_path / "out", Split.TRAIN)).pairs
        check_pairs(pairs)
        summary = json.loads((tmp_path / "out" / "scenes.json").read_text())
        kinds = [*summary["kinds"].values()]
        assert (kinds.count("empty"), kinds.count("camouflaged")) == (2, 3)
        assert [*summary["sources"]] == [pair.stem for pair in pairs]
        assert [summary["foregrounds"], summary["backgrounds"]] == [*map(str, folders)]
        for stem, names in summary["sources"].items():
            assert {*names["backgrounds"]} <= {"blue.jpg", "grey.png"}
            assert bool(names["foregrounds"]) is (summary["kinds"][stem] != "empty")

    def test_binary_masks_are_the_soft_ones_at_the_threshold(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        for name, binary in (("soft", False), ("hard", True)):
            write_scenes(
                tmp_path / name, 3, foregrounds=folders[0], size=64, binary=binary, workers=1
            )
        for soft, hard in zip(
            sorted((tmp_path / "soft" / "Mask").iterdir()),
            sorted((tmp_path / "hard" / "Mask").iterdir()),
            strict=True,
        ):
            inside = np.asarray(Image.open(soft)) > 128
            np.testing.assert_array_equal(np.asarray(Image.open(hard)), np.where(inside, 255, 0))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--binary"], "--binary is for --foregrounds"),
            (["--empty", "1.2"], "1.2"),
        ],
    )
    def test_wrong_usage(self, tmp_path: Path, arguments: list[str], message: str) -> None:
        done = runner.invoke(app, ["generate", "-o", str(tmp_path / "x"), *arguments])
        assert done.exit_code == 2
        assert message in done.stderr
        assert not [*tmp_path.iterdir()]
