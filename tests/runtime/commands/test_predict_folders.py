"""`dsunet-run predict` with trees of folders, patterns and --skip-existing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.commands.runner import names, predict


class TestTrees:
    def test_recursive_keeps_the_tree(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        result = predict(frames_artifact, tree, "-o", out, "--recursive")
        assert result.exit_code == 0
        assert result.stderr == (
            f"dsunet-run: {tree}: left out 1 file: .txt (1); 1 subfolder\n"  # the link
        )
        assert names(out) == ["a.png", "sub/b.png", "sub/deeper/c.png"]

    def test_results_inside_the_tree_are_not_images(
        self, frames_artifact: Path, tree: Path
    ) -> None:
        for _ in range(2):
            result = predict(frames_artifact, tree, "-o", tree / "sub/masks", "--recursive")
            assert result.exit_code == 0, result.output
            assert result.stdout.startswith("3 masks, 0 failed, ")
        for pattern, count in (("**/*.png", 2), ("sub/*/*", 1)):
            result = predict(frames_artifact, tree / pattern, "-o", tree / "sub/masks")
            assert result.stdout.startswith(f"{count} mask")
            (tree / "sub/masks/deeper/c.png").unlink(missing_ok=True)
        assert names(tree / "sub/masks") == ["a.png", "sub/b.png", "sub/deeper/c.png"]

    def test_a_result_over_an_image_of_a_subfolder(self, frames_artifact: Path, tree: Path) -> None:
        before = names(tree)
        result = predict(frames_artifact, tree, "-o", tree, "--recursive")
        assert result.exit_code == 1
        assert "a.png: would overwrite the image" in result.stderr
        assert names(tree) == before

    def test_a_file_in_the_place_of_a_subfolder(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/sub").touch()
        result = predict(frames_artifact, tree, "-o", tmp_path / "out", "--recursive")
        assert result.exit_code == 1
        assert result.stdout.startswith("1 mask, 2 failed, ")
        assert f"{tmp_path / 'out/sub'}: is a file: name a folder" in result.stderr

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/*.png", ["a.png", "sub/deeper/c.png"]),
            ("**", ["a.png", "sub/b.png", "sub/deeper/c.png"]),
            ("sub/**/*", ["b.png", "deeper/c.png"]),
            ("sub/*.jpg", ["b.png"]),
            ("s*/?.jpg", ["sub/b.png"]),
            ("[a-c].png", ["a.png"]),
            ("*/*", ["again/b.png"]),  # a link to `sub`, so the same image
        ],
    )
    def test_patterns(
        self, frames_artifact: Path, tree: Path, tmp_path: Path, pattern: str, expected: list[str]
    ) -> None:
        result = predict(frames_artifact, tree / pattern, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == expected

    def test_a_folder_whose_name_looks_like_a_pattern(
        self, frames_artifact: Path, tree: Path, tmp_path: Path
    ) -> None:
        tree.rename(tmp_path / "[1]*")
        result = predict(frames_artifact, tmp_path / "[1]*/*.png", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert names(tmp_path / "out") == ["a.png"]

    def test_a_file_whose_name_looks_like_a_pattern(
        self, frames_artifact: Path, image: Path, tmp_path: Path
    ) -> None:
        image.rename(tmp_path / "[1]*?.png")
        result = predict(frames_artifact, tmp_path / "[1]*?.png", "-o", tmp_path / "x.png")
        assert result.exit_code == 0, result.output
        result = predict(frames_artifact, tmp_path / "[2]*?.png", "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert "no such file, and no image's name matches it as a pattern" in result.stderr

    def test_skip_existing(
        self,
        frames_artifact: Path,
        tree: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "out"
        options = ("--recursive", "--skip-existing", "--overlay")
        predict(frames_artifact, tree, "-o", out, *options)
        (out / "sub/b_overlay.jpg").unlink()
        kept = {name: (out / name).stat().st_mtime_ns for name in names(out) if "b" not in name}
        result = predict(frames_artifact, tree, "-o", out, *options)
        assert result.stdout.startswith("1 mask, 0 failed, 2 skipped, ")
        assert (out / "sub/b_overlay.jpg").is_file()
        monkeypatch.setattr("dsunet_runtime.load", None)  # it can take a minute: not called
        result = predict(frames_artifact, tree, "-o", out, *options)
        assert (result.exit_code, result.stdout[:31]) == (0, "0 masks, 0 failed, 3 skipped, 0")
        assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}
