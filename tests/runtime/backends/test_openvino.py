"""The provider `openvino`: the same masks as NumPy's, whatever it finds around the artifact."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import ArtifactError, BackendError, SelfTestError
from dsunet_runtime.artifact.manifest import Precision
from dsunet_runtime.backends import openvino as backend
from dsunet_runtime.extras import install_command
from dsunet_runtime.processor import fast_instructions
from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")


def load(path: Path, **options: Any) -> dsunet_runtime.Segmenter:
    return dsunet_runtime.load(path, provider="openvino", **options)


def computes(path: Path, image: NDArray[np.uint8], **options: Any) -> None:
    """Check the mask of an artifact of `artifacts.frames`."""
    with load(path, **options) as segmenter:
        np.testing.assert_array_equal(segmenter(image), artifacts.expected_frames_mask(image))


def cache_files(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*.openvino/*"))


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The artifacts that were compiled, not loaded from the cache."""
    seen: list[Path] = []
    compile_graph = backend._compile

    def count(core: Any, path: Path, *others: Any) -> Any:
        seen.append(path)
        return compile_graph(core, path, *others)

    monkeypatch.setattr(backend, "_compile", count)
    return seen


class TestResults:
    @pytest.mark.parametrize("size", [(1, 1), (41, 53), (7, 300)])
    def test_any_size_in_batches(self, frames_artifact: Path, size: tuple[int, int]) -> None:
        generator = np.random.default_rng(0)
        images = [generator.integers(0, 256, (*size, 3), np.uint8) for _ in range(3)]
        with load(frames_artifact) as segmenter:
            for image, mask in zip(images, segmenter.batch(images), strict=True):
                np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))
            np.testing.assert_array_equal(
                segmenter(images[0][:1]), artifacts.expected_frames_mask(images[0][:1])
            )

    def test_tensors_form(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx")
        generator = np.random.default_rng(0)
        sides = {"hiera": artifacts.HIERA, "dino": artifacts.DINO}
        inputs = {
            name: generator.standard_normal((2, 3, side, side), np.float32)
            for name, side in sides.items()
        }
        manifest = dsunet_runtime.read_manifest(path)
        with backend.OpenVinoBackend(path, manifest) as opened:
            logits = opened.infer(inputs)["logits"]
        for row in range(2):
            expected = artifacts.expected_logits(inputs["hiera"][row], inputs["dino"][row])
            np.testing.assert_allclose(logits[row, 0], expected, atol=1e-5)

    def test_masks_belong_to_the_caller(self, frames_artifact: Path) -> None:
        with load(frames_artifact) as segmenter:
            first = segmenter(np.full((4, 4, 3), 8, np.uint8))
            segmenter(np.full((4, 4, 3), 200, np.uint8))
        assert (first == 8).all()
        first[:] = 0  # writable

    def test_from_many_threads(self, frames_artifact: Path) -> None:
        failed = []
        with load(frames_artifact) as segmenter:

            def run(level: int) -> None:
                for _ in range(10):
                    mask = segmenter(np.full((9, 9, 3), level, np.uint8))
                    if not (mask == level).all():
                        failed.append(level)

            threads = [threading.Thread(target=run, args=(level,)) for level in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failed == []

    def test_signals_after_two_artifacts(self, frames_artifact: Path) -> None:
        """Their handlers run on a stack that is still there, whichever artifact is closed first."""
        opening = f"load({str(frames_artifact)!r}, provider='openvino')"
        program = f"""
            import signal
            from dsunet_runtime import load
            first, second = {opening}, {opening}
            first.close()
            second.close()
            del first, second
            signal.signal(signal.SIGTERM, lambda *_: print("handled"))
            signal.raise_signal(signal.SIGTERM)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "handled\n", "")

    def test_threads(self, frames_artifact: Path, photo: NDArray[np.uint8]) -> None:
        for threads in (1, 2, 1024):
            computes(frames_artifact, photo, threads=threads)
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        assert cache_files(frames_artifact)
        with backend.OpenVinoBackend(frames_artifact, manifest, threads=1) as cached:
            assert cached._compiled.get_property("INFERENCE_NUM_THREADS") == 1
        cache_files(frames_artifact)[0].unlink()
        with backend.OpenVinoBackend(frames_artifact, manifest, threads=1) as compiled:
            assert compiled._compiled.get_property("INFERENCE_NUM_THREADS") == 1
        with pytest.raises(BackendError, match="threads is 0"):
            load(frames_artifact, threads=0)

    def test_threads_are_pinned_only_where_all_cores_are_used(self, frames_artifact: Path) -> None:
        """Other processes, with as many threads, would be on the same cores."""
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        for threads in (1, None, 1):  # compiled, and twice from the cache
            with backend.OpenVinoBackend(frames_artifact, manifest, threads=threads) as opened:
                pinned = opened._compiled.get_property("ENABLE_CPU_PINNING")
            assert pinned == (threads is None)


class TestPrecision:
    @pytest.mark.parametrize(
        ("compute", "capable", "hint"),
        [
            ("float32", True, "f32"),
            ("float16", True, "f32"),
            ("bfloat16", True, "bf16"),
            ("bfloat16", False, "f32"),
        ],
    )
    def test_the_artifact_decides(
        self, frames_artifact: Path, compute: str, capable: bool, hint: str
    ) -> None:
        class Core:
            def get_property(self, device: str, name: str) -> list[str]:
                assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
                return ["FP32", *(["BF16"] if capable else [])]

        manifest = dsunet_runtime.read_manifest(frames_artifact)
        manifest = dataclasses.replace(manifest, precision=Precision(compute=compute))
        assert backend._precision(Core(), manifest) == hint

    def test_bfloat16(self, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
        path = artifacts.bfloat16_frames(tmp_path / "a.onnx")
        with load(path) as segmenter:
            found = segmenter(photo).astype(int)
        assert np.abs(found - artifacts.expected_frames_mask(photo)).max() <= 1

    def test_float32_is_not_bfloat16(self, frames_artifact: Path) -> None:
        """OpenVINO computes in bfloat16 by itself if the CPU can."""
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        with backend.OpenVinoBackend(frames_artifact, manifest) as opened:
            found = opened._compiled.get_property("INFERENCE_PRECISION_HINT")
        assert found == openvino.Type.f32


class TestCache:
    def test_is_kept_by_the_graph(
        self, frames_artifact: Path, photo: NDArray[np.uint8], compilations: list[Path]
    ) -> None:
        computes(frames_artifact, photo)
        (file,) = cache_files(frames_artifact)
        sha256 = dsunet_runtime.read_manifest(frames_artifact).graph.sha256
        assert file.parent.name == f"{frames_artifact.name}.{sha256[:16]}.openvino"
        computes(frames_artifact, photo, threads=1)
        assert compilations == [frames_artifact]
        # Another graph of the same name and nodes.
        artifacts.frames(frames_artifact, weights=np.float32([1, 0, 0]))
        with load(frames_artifact) as segmenter:
            np.testing.assert_array_equal(segmenter(photo), photo[..., 0])

    def test_other_external_weights_of_the_same_graph(
        self, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", external=True)
        graph = dsunet_runtime.read_manifest(path).graph.sha256
        computes(path, photo)
        path.with_name("a.onnx.data").unlink()
        artifacts.frames(path, external=True, weights=np.float32([1, 0, 0]))
        assert dsunet_runtime.read_manifest(path).graph.sha256 == graph
        with load(path) as segmenter:
            np.testing.assert_array_equal(segmenter(photo), photo[..., 0])

    @pytest.mark.parametrize("damage", [b"", b"\0" * 500, None])
    def test_damaged(
        self,
        frames_artifact: Path,
        photo: NDArray[np.uint8],
        compilations: list[Path],
        damage: bytes | None,
    ) -> None:
        computes(frames_artifact, photo)
        (file,) = cache_files(frames_artifact)
        whole = file.read_bytes()
        weights = artifacts.FRAMES_WEIGHTS.tobytes()
        assert weights in whole
        flipped = whole.replace(weights, weights[::-1])
        file.write_bytes(flipped if damage is None else damage)
        computes(frames_artifact, photo)
        assert len(compilations) == 2
        assert file.read_bytes()[:32] == hashlib.sha256(file.read_bytes()[32:]).digest()

    def test_nothing_of_a_damaged_artifact_is_kept(
        self, frames_artifact: Path, photo: NDArray[np.uint8]
    ) -> None:
        """Mended, the artifact has the same hash as before, and a cache by that name."""
        whole = frames_artifact.read_bytes()
        weights = artifacts.FRAMES_WEIGHTS.tobytes()
        frames_artifact.write_bytes(whole.replace(weights, weights[::-1]))
        with pytest.raises(ArtifactError, match="damaged"):
            load(frames_artifact)
        assert cache_files(frames_artifact) == []
        frames_artifact.write_bytes(whole)
        computes(frames_artifact, photo)

    @pytest.mark.parametrize("kind", ["link", "writable by all"])
    def test_a_folder_that_others_may_write_is_not_trusted(
        self, frames_artifact: Path, photo: NDArray[np.uint8], tmp_path: Path, kind: str
    ) -> None:
        computes(frames_artifact, photo)
        (file,) = cache_files(frames_artifact)
        file.unlink()
        if kind == "link":
            file.parent.rmdir()
            (tmp_path / "theirs").mkdir()
            file.parent.symlink_to(tmp_path / "theirs")
        else:
            file.parent.chmod(0o777)
        computes(frames_artifact, photo)
        assert cache_files(frames_artifact) == []

    def test_of_another_library_or_cpu(
        self, frames_artifact: Path, photo: NDArray[np.uint8], compilations: list[Path]
    ) -> None:
        """OpenVINO refuses it, also if its bytes are whole."""
        computes(frames_artifact, photo)
        (file,) = cache_files(frames_artifact)
        content = file.read_bytes()[32:]
        if b"isa=" not in content:
            pytest.skip("OpenVINO 2026.4 or later names the CPU's instructions in the file")
        content = content.replace(b"isa=", b"isa=No ")
        file.write_bytes(hashlib.sha256(content).digest() + content)
        computes(frames_artifact, photo)
        assert len(compilations) == 2

    def test_no_place_for_it(
        self,
        frames_artifact: Path,
        photo: NDArray[np.uint8],
        monkeypatch: pytest.MonkeyPatch,
        compilations: list[Path],
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        computes(frames_artifact, photo)
        computes(frames_artifact, photo)
        assert len(compilations) == 2
        assert cache_files(frames_artifact) == []

    def test_a_file_where_its_folder_would_be(
        self, frames_artifact: Path, photo: NDArray[np.uint8]
    ) -> None:
        sha256 = dsunet_runtime.read_manifest(frames_artifact).graph.sha256
        Path(f"{frames_artifact}.{sha256[:16]}.openvino").write_text("in the way")
        computes(frames_artifact, photo)

    def test_moved_artifact(
        self, frames_artifact: Path, photo: NDArray[np.uint8], tmp_path: Path
    ) -> None:
        computes(frames_artifact, photo)
        moved = tmp_path / "größer/b.onnx"
        moved.parent.mkdir()
        frames_artifact.rename(moved)
        computes(moved, photo)
        assert len(cache_files(moved)) == 1

    def test_processes_at_once(self, frames_artifact: Path, photo: NDArray[np.uint8]) -> None:
        code = (
            "import sys, dsunet_runtime\n"
            "with dsunet_runtime.load(sys.argv[1], provider='openvino') as s: print('loaded')"
        )
        command = [sys.executable, "-c", code, str(frames_artifact)]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(3)
        ]
        assert [one.communicate()[0] for one in running] == ["loaded\n"] * 3
        assert len(cache_files(frames_artifact)) == 1
        computes(frames_artifact, photo)


class TestFiles:
    @pytest.mark.parametrize("writable", [True, False])
    def test_linked_weights(
        self,
        tmp_path: Path,
        photo: NDArray[np.uint8],
        writable: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As in download caches; OpenVINO by itself refuses weights in another folder."""
        original = artifacts.frames(tmp_path / "a.onnx", external=True)
        folder = tmp_path / "links"
        folder.mkdir()
        store = tmp_path / "store"
        store.mkdir()
        for number, file in enumerate((original, original.with_name(original.name + ".data"))):
            file.rename(store / str(number))
            (folder / file.name).symlink_to(store / str(number))
        path = folder / original.name
        if not writable:
            monkeypatch.setattr(os, "access", lambda path, mode: False)

            def refuse(parent: Path) -> None:
                raise PermissionError("not writable")

            monkeypatch.setattr(backend, "staging_folder", refuse)
        computes(path, photo)
        left = {file.name for file in folder.iterdir() if not file.name.endswith(".openvino")}
        assert left == {path.name, f"{path.name}.data"}

    def test_external_weights(self, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
        computes(artifacts.frames(tmp_path / "a.onnx", external=True), photo)

    def test_missing_weights(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", external=True)
        path.with_name("a.onnx.data").unlink()
        with pytest.raises(ArtifactError, match=r"a\.onnx\.data: missing"):
            load(path)

    def test_damaged(self, frames_artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
        content = bytearray(frames_artifact.read_bytes())
        content[20:40] = bytes(20)
        frames_artifact.write_bytes(content)
        with pytest.raises(ArtifactError, match="damaged, or changed") as caught:
            load(frames_artifact)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    def test_not_a_model(self, frames_artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        frames_artifact.write_bytes(b"not a model at all " * 50)
        with pytest.raises(
            ArtifactError, match=r"OpenVINO cannot read it: FrontEnd.*can't be parsed"
        ):
            backend.OpenVinoBackend(frames_artifact, manifest)
        assert capfd.readouterr() == ("", "")

    def test_names(self, frames_artifact: Path) -> None:
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        (image,) = manifest.inputs
        manifest = dataclasses.replace(
            manifest, inputs=(dataclasses.replace(image, name="picture"),)
        )
        with pytest.raises(ArtifactError, match="inputs are image and the manifest's picture"):
            backend.OpenVinoBackend(frames_artifact, manifest)

    def test_wrong_shape(self, tmp_path: Path) -> None:
        dynamic = dsunet_runtime.read_manifest(artifacts.frames(tmp_path / "dynamic.onnx"))
        promised = {"inputs": dynamic.inputs, "outputs": dynamic.outputs}
        path = artifacts.frames(tmp_path / "fixed.onnx", height=6, width=5, **promised)
        with (
            load(path) as segmenter,
            pytest.raises(BackendError, match="OpenVINO failed: Can't set the input") as caught,
        ):
            segmenter(np.zeros((9, 9, 3), np.uint8))
        assert "\n" not in str(caught.value)


class TestPackage:
    def test_not_installed(self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(BackendError, match=re.escape(install_command("openvino"))):
            load(frames_artifact)

    def test_needs_no_onnx_runtime(
        self, frames_artifact: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        computes(frames_artifact, photo)

    def test_no_fallback_to_allow(self, frames_artifact: Path) -> None:
        with pytest.raises(BackendError, match="for providers on a GPU, and 'openvino' is none"):
            load(frames_artifact, allow_cpu_fallback=True)


class TestSelfTest:
    def test_runs_once(self, tmp_path: Path) -> None:
        path = give_selftest(artifacts.frames(tmp_path / "a.onnx"), cases_for())
        record = tmp_path / "a.onnx.selftest.json"
        load(path).close()
        assert f"OpenVINO {openvino.__version__}" in record.read_text()
        assert " ".join(fast_instructions()) in record.read_text()

    def test_a_failure_names_the_library(self, tmp_path: Path) -> None:
        wrong = artifacts.frames(tmp_path / "a.onnx", weights=np.float32([1, 0, 0]))
        give_selftest(wrong, cases_for())
        with pytest.raises(SelfTestError, match=r"on OpenVINO 20.*, precision f32: this machine"):
            load(wrong)
