"""Images with their masks, by name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from dsunet.data.defects import Defect, DefectKind
from dsunet.data.pairs import Pair, find_pairs
from dsunet.errors import DataError
from tests.data_and_scenes.folders import folder, found, write_image, write_mask


def stems(pairs: list[Pair]) -> list[str]:
    return [pair.stem for pair in pairs]


class TestFinding:
    def test_pairs_by_stem_whatever_the_suffix_sorted(self, images: Path, masks: Path) -> None:
        for name in ("b.JPG", "animal-1.jpeg", "a.b.png"):
            write_image(images / name)
            write_mask((masks / name).with_suffix(".PNG"))
        pairs = found(images, masks)
        assert stems(pairs) == ["a.b", "animal-1", "b"]
        assert pairs[2] == Pair("b", images / "b.JPG", masks / "b.PNG")

    def test_what_is_left_out_is_counted(self, images: Path, masks: Path) -> None:
        write_image(images / "a.jfif", format="JPEG")
        write_mask(masks / "a.png")
        write_mask(masks / ".hidden.png")
        (images / "Thumbs.db").write_bytes(b"")
        folder(masks / "sub")
        pairing = find_pairs(images, masks)
        assert stems(list(pairing.pairs)) == ["a"]
        assert pairing.notes == (
            f"{images}: left out 1 file: .db (1)",
            f"{masks}: left out 1 subfolder",
        )

    def test_links_that_lead_nowhere_are_images(self, images: Path, masks: Path) -> None:
        for name in ("a", "b"):
            write_mask(masks / f"{name}.png")
            (images / f"{name}.jpg").symlink_to(f"../.git/annex/objects/{name}")
        assert stems(found(images, masks)) == ["a", "b"]

    def test_all_that_is_wrong_is_there_at_once(self, images: Path, masks: Path) -> None:
        for name in ("a.jpg", "b.jpg", "c.jpg", "c.png"):
            write_image(images / name)
        for name in ("c", "d"):
            write_mask(masks / f"{name}.png")
        pairing = find_pairs(images, masks)
        assert stems(list(pairing.pairs)) == ["c"]
        assert pairing.defects == (
            Defect(DefectKind.UNPAIRED, f"{images / 'a.jpg'}: no mask in {masks}"),
            Defect(DefectKind.UNPAIRED, f"{images / 'b.jpg'}: no mask in {masks}"),
            Defect(DefectKind.UNPAIRED, f"{masks / 'd.png'}: no image in {images}"),
            Defect(DefectKind.TWINS, f"{images / 'c.jpg'} and c.png"),
        )

    def test_names_differ_by_more_than_how_accents_are_coded(
        self, images: Path, masks: Path
    ) -> None:
        composed, decomposed = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
        assert composed != decomposed
        write_image(images / f"{decomposed}.jpg")
        write_mask(masks / f"{composed}.png")
        (pair,) = found(images, masks)
        assert pair == Pair(decomposed, images / f"{decomposed}.jpg", masks / f"{composed}.png")
        write_image(images / f"{composed}.jpg")
        (defect,) = find_pairs(images, masks).defects
        assert defect.kind is DefectKind.TWINS

    @pytest.mark.parametrize("prepare", [Path.touch, Path.mkdir, lambda path: None])
    def test_folders_that_hold_none(self, images: Path, tmp_path: Path, prepare: object) -> None:
        write_image(images / "a.jpg")
        masks = tmp_path / "masks"
        prepare(masks)  # type: ignore[operator]
        with pytest.raises(DataError, match=r"masks: (is not a folder|no images in this folder)"):
            find_pairs(images, masks)

    def test_cod10k_without_what_is_not_camouflaged(self, images: Path, masks: Path) -> None:
        for name in ("COD10K-CAM-1-Aquatic-1-BatFish-1", "COD10K-NonCAM-3-Flying-1515"):
            write_image(images / f"{name}.jpg")
        write_mask(masks / "COD10K-CAM-1-Aquatic-1-BatFish-1.png")
        pairing = find_pairs(images, masks)
        assert stems(list(pairing.pairs)) == ["COD10K-CAM-1-Aquatic-1-BatFish-1"]
        assert pairing.defects == ()
        assert pairing.notes == (f"{images}: left out 1 file named COD10K-NonCAM-…",)


class TestSharedMasks:
    """CAMO's GT belongs to Images/Train and to Images/Test."""

    @pytest.fixture
    def camo(self, tmp_path: Path) -> Path:
        for split, name in (("Train", "camourflage_00001"), ("Test", "camourflage_00012")):
            folder(tmp_path / "CAMO/Images" / split)
            write_image(tmp_path / "CAMO/Images" / split / f"{name}.jpg")
        folder(tmp_path / "CAMO/GT")
        for number in ("00001", "00012"):
            write_mask(tmp_path / "CAMO/GT" / f"camourflage_{number}.png")
        return tmp_path / "CAMO"

    @pytest.mark.parametrize(
        ("split", "stem"), [("Train", "camourflage_00001"), ("Test", "camourflage_00012")]
    )
    def test_masks_of_the_other_split_are_left_out(self, camo: Path, split: str, stem: str) -> None:
        pairing = find_pairs(camo / "Images" / split, camo / "GT")
        assert (stems(list(pairing.pairs)), pairing.defects) == ([stem], ())
        assert pairing.notes == (f"{camo / 'GT'}: left out 1 mask of images in other folders",)

    def test_a_mask_of_neither_is_a_defect(self, camo: Path) -> None:
        write_mask(camo / "GT/x.png")
        (defect,) = find_pairs(camo / "Images/Train", camo / "GT").defects
        assert "x.png: no image" in defect.line

    def test_not_where_each_split_has_its_own(self, tmp_path: Path) -> None:
        for split, name in (("train", "a"), ("test", "b")):
            write_image(folder(tmp_path / "images" / split) / f"{name}.jpg")
            write_mask(folder(tmp_path / "masks" / split) / f"{name}.png")
        write_mask(tmp_path / "masks/train/b.png")
        (defect,) = find_pairs(tmp_path / "images/train", tmp_path / "masks/train").defects
        assert "b.png: no image" in defect.line
