"""The folders of published datasets are found; ambiguous layouts are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.errors import DataError

# Dataset, images and masks for training, images and masks for testing.
PUBLISHED = {
    "DUTS": (
        ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
        ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    ),
    "COD10K-v3": (("Train/Image", "Train/GT_Object"), ("Test/Image", "Test/GT_Object")),
    "CAMO-V.1.0-CVIU2019": (("Images/Train", "GT"), ("Images/Test", "GT")),
    "COD": (("TrainDataset/Imgs", "TrainDataset/GT"), ("TestDataset/Imgs", "TestDataset/GT")),
    "ordinary": (("images/train", "masks/train"), ("images/test", "masks/test")),
}
WHOLE = {
    "DUT-OMRON": ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    "DUT-OMRON in folders": ("DUT-OMRON-image/DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    "HKU-IS": ("imgs", "gt"),
    "HKU-IS in a folder": ("HKU-IS/Img", "HKU-IS/GT"),
    "PASCAL-S": ("Imgs", "GT"),
    "ECSSD": ("images", "ground_truth_mask"),
    "CHAMELEON": ("Imgs", "GT"),
    "CHAMELEON as first published": (
        "CHAMELEON_TestingDataset/Image",
        "CHAMELEON_TestingDataset/GT",
    ),
    "NC4K": ("Imgs", "GT"),
    "generated": ("Image", "Mask"),
    "SED": ("im", "Masks"),
}


def build(root: Path, *folders: str) -> Path:
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "a.png").touch()
    return root


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("name", PUBLISHED)
def test_datasets_of_two_splits(tmp_path: Path, name: str, split: Split) -> None:
    train, test = PUBLISHED[name]
    root = build(tmp_path / name, *train, *test)
    images, masks = train if split is Split.TRAIN else test
    assert find_dataset_folders(root, split) == (root / images, root / masks)


@pytest.mark.parametrize("name", WHOLE)
def test_datasets_of_one_part_are_taken_whole(tmp_path: Path, name: str) -> None:
    root = build(tmp_path / name, *WHOLE[name])
    (root / "__MACOSX").mkdir()
    (root / ".git").mkdir()
    images, masks = WHOLE[name]
    assert find_dataset_folders(root, Split.TEST) == (root / images, root / masks)


def test_a_split_may_be_named_itself(tmp_path: Path) -> None:
    root = build(tmp_path, *PUBLISHED["DUTS"][0], *PUBLISHED["DUTS"][1])
    train = root / "DUTS-TR"
    assert find_dataset_folders(train, Split.TEST) == (
        train / "DUTS-TR-Image",
        train / "DUTS-TR-Mask",
    )


def test_sinet_test_sets_lie_one_folder_further_down(tmp_path: Path) -> None:
    root = build(tmp_path, "TestDataset/CAMO/Imgs", "TestDataset/CAMO/GT")
    camo = root / "TestDataset/CAMO"
    assert find_dataset_folders(root, Split.TEST) == (camo / "Imgs", camo / "GT")
    build(root, "TestDataset/NC4K/Imgs", "TestDataset/NC4K/GT")
    with pytest.raises(DataError, match="several folders of images and masks were found") as caught:
        find_dataset_folders(root, Split.TEST)
    assert str(camo / "Imgs") in str(caught.value)
    assert str(root / "TestDataset/NC4K/GT") in str(caught.value)
    assert find_dataset_folders(camo, Split.TEST) == (camo / "Imgs", camo / "GT")


@pytest.mark.parametrize(
    "folders",
    [("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"), ("images/train", "masks/train")],
)
def test_one_split_is_never_taken_for_the_other(tmp_path: Path, folders: tuple[str, str]) -> None:
    build(tmp_path, *folders)
    with pytest.raises(DataError, match="nor in a test folder"):
        find_dataset_folders(tmp_path, Split.TEST)


def test_two_folders_of_masks_are_not_chosen_between(tmp_path: Path) -> None:
    root = build(tmp_path, "Imgs", "GT", "GT_Object")
    with pytest.raises(DataError, match=r"(?s)--images and --masks.*Imgs, .*GT\n.*GT_Object"):
        find_dataset_folders(root, Split.TRAIN)


@pytest.mark.parametrize("folders", [(), ("Imgs",), ("GT",), ("ECSSD/images", "HKU-IS/imgs")])
def test_says_what_was_looked_for(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = build(tmp_path, *folders)
    with pytest.raises(DataError, match=r"ground_truth_mask.*--images and --masks"):
        find_dataset_folders(root, Split.TRAIN)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_dataset_folders(tmp_path / "none", Split.TRAIN)


def test_folders_that_were_not_fetched(tmp_path: Path) -> None:
    build(tmp_path, "GT")
    (tmp_path / "Imgs").symlink_to("/nowhere/Imgs")
    with pytest.raises(DataError, match="broken links: Imgs"):
        find_dataset_folders(tmp_path, Split.TRAIN)
