"""The text of a verification: the worst of many comparisons in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dsunet import DSUNetConfig
from dsunet_export.manifest_text import describe_manifest, verified_in_words
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import Manifest, Rewrite, Verification
from tests.runtime import artifacts


def comparison(image: str, largest: float, mean: float) -> Verification:
    """Make a comparison with a tolerance of 3, and of 0.1 for the mean."""
    return Verification(image, "logits", largest, mean, 3.0, 0.1, "standard deviations", "a test")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(artifacts.frames(tmp_path / "a.onnx"))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (comparison("c.png", 2.0, 0.01), "logits differs by at most 2 (mean 0.01)"),
        (comparison("c.png", 0.5, 0.09), "logits differs by at most 0.5 (mean 0.09)"),
    ],
)
def test_the_worst_is_closest_to_its_tolerance(
    manifest: Manifest, odd: Verification, words: str
) -> None:
    checks = tuple(comparison(f"{n}.png", 1.0, 0.02) for n in range(20))
    manifest = replace(manifest, verification=(*checks[:7], odd, *checks[7:]))
    (line,) = verified_in_words(manifest)
    assert line.startswith(
        f"21 comparisons, the worst: c.png: {words} standard deviations, tolerance 3"
    )
    assert len(verified_in_words(manifest, each=True)) == 21


def test_a_single_one_and_none(manifest: Manifest) -> None:
    one = replace(manifest, verification=(comparison("a.png", 1.0, 0.02),))
    assert verified_in_words(one) == verified_in_words(one, each=True)
    assert verified_in_words(one)[0].startswith("a.png: logits differs")
    assert verified_in_words(replace(manifest, verification=())) == []


def test_names_of_rewrites_in_older_manifests(manifest: Manifest) -> None:
    """`late-padding`, `needed-tokens` and `token-fusion` were renamed; nothing checks the names."""
    names = ("late-padding", "needed-tokens", "token-fusion")
    older = replace(
        manifest,
        model=DSUNetConfig.preset("nano").to_dict(),
        rewrites=tuple(Rewrite(name, 200, 100) for name in names),
    )
    read = Manifest.from_json(older.to_json())
    assert [rewrite.name for rewrite in read.rewrites] == list(names)
    for name in names:
        assert f"  {name} " in describe_manifest(read)
