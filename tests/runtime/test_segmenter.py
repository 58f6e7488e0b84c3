"""The class that users hold, on both forms of artifact."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

import dsunet_runtime
from dsunet_runtime import BackendError, ImageError, Segmenter
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.backends.onnxruntime import backend as onnxruntime_backend
from dsunet_runtime.extras import install_command
from dsunet_runtime.images.decode import encoder_input
from dsunet_runtime.masks.mask_from_logits import mask_from_logits
from tests.runtime import artifacts

TF32 = "NVIDIA_TF32_OVERRIDE"


@pytest.fixture(autouse=True)
def without_tf32_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo at the end what a test sets, and have nothing set at the start."""
    monkeypatch.setenv(TF32, "")
    monkeypatch.delenv(TF32)


def random_image(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected_tensors_mask(
    rgb: NDArray[np.uint8], form: MaskForm = MaskForm.STRETCHED, dino: bool = True
) -> NDArray[np.uint8]:
    hiera = encoder_input(rgb, artifacts.HIERA, artifacts.MEAN, artifacts.STD)
    second = encoder_input(rgb, artifacts.DINO, artifacts.MEAN, artifacts.STD) if dino else None
    logits = artifacts.expected_logits(hiera, second)
    return mask_from_logits(logits, rgb.shape[:2], form)


def assert_masks_close(mask: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    assert mask.dtype == np.uint8
    assert mask.shape == expected.shape
    differences = np.abs(mask.astype(int) - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.02  # a value at the edge between two levels


class TestFrames:
    @pytest.mark.parametrize("size", [(1, 1), (1, 300), (41, 53), (200, 3)])
    def test_mask(self, segmenter: Segmenter, size: tuple[int, int]) -> None:
        image = random_image(*size)
        mask = segmenter(image)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))

    def test_path_and_pillow_image(
        self, segmenter: Segmenter, photo: NDArray[np.uint8], tmp_path: Path
    ) -> None:
        image = Image.fromarray(photo)
        image.save(tmp_path / "a.png")
        for source in (image, tmp_path / "a.png", str(tmp_path / "a.png")):
            np.testing.assert_array_equal(segmenter(source), artifacts.expected_frames_mask(photo))

    def test_mixed_sizes_in_one_batch(self, segmenter: Segmenter) -> None:
        images = [random_image(*size) for size in [(5, 7), (4, 4), (5, 7), (7, 5), (4, 4)]]
        for image, mask in zip(images, segmenter.batch(images), strict=True):
            np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))

    def test_same_sizes_are_computed_at_once(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = []
        infer = segmenter._backend.infer  # type: ignore[union-attr]
        monkeypatch.setattr(
            segmenter._backend, "infer", lambda x: sizes.append(len(x["image"])) or infer(x)
        )
        segmenter.batch([random_image(*size) for size in [(5, 7), (4, 4), (5, 7)]])
        assert sizes == [2, 1]

    def test_empty_batch(self, segmenter: Segmenter) -> None:
        assert segmenter.batch([]) == []

    @pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
    def test_fixed_batch_is_filled_up(self, tmp_path: Path, count: int) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", batch=4)
        images = [random_image(6, 5, seed) for seed in range(count)]
        with dsunet_runtime.load(path) as segmenter:
            assert segmenter.best_batch == 4
            masks = segmenter.batch(images)
        assert len(masks) == count
        for image, mask in zip(images, masks, strict=True):
            np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))

    def test_fixed_size(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", height=6, width=5)
        Image.fromarray(random_image(5, 6)).save(tmp_path / "turned.png")
        with dsunet_runtime.load(path) as segmenter:
            assert segmenter(random_image(6, 5)).shape == (6, 5)
            with pytest.raises(ImageError, match=r"6×5 .* takes 5×6: resize .*`--size dynamic`"):
                segmenter(random_image(5, 6))
            with pytest.raises(ImageError, match=r"turned\.png: the image is 6×5"):
                segmenter(tmp_path / "turned.png")

    def test_masks_belong_to_the_caller(self, segmenter: Segmenter) -> None:
        first = segmenter(random_image(4, 4, seed=1))
        copy = first.copy()
        segmenter(random_image(4, 4, seed=2))
        np.testing.assert_array_equal(first, copy)
        first[:] = 0  # writable

    def test_from_many_threads(self, segmenter: Segmenter) -> None:
        images = [random_image(9, 9, seed) for seed in range(16)]
        with ThreadPoolExecutor(4) as pool:
            for image, mask in zip(images, pool.map(segmenter, images), strict=True):
                np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))

    def test_agrees_with_onnx_runtime_alone(
        self, frames_artifact: Path, segmenter: Segmenter, photo: NDArray[np.uint8]
    ) -> None:
        session = onnxruntime.InferenceSession(frames_artifact, providers=["CPUExecutionProvider"])
        (mask,) = session.run(["mask"], {"image": photo[None]})
        np.testing.assert_array_equal(segmenter(photo), mask[0])


class TestTensors:
    @pytest.mark.parametrize("form", MaskForm)
    @pytest.mark.parametrize("dino", [True, False])
    @pytest.mark.parametrize("size", [(1, 1), (41, 53), (16, 16)])
    def test_mask(self, tmp_path: Path, form: MaskForm, dino: bool, size: tuple[int, int]) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", dino=dino, mask_form=form)
        image = random_image(*size)
        with dsunet_runtime.load(path) as segmenter:
            assert_masks_close(segmenter(image), expected_tensors_mask(image, form, dino))

    @pytest.mark.parametrize("form", MaskForm)
    def test_another_form_of_mask(self, tmp_path: Path, form: MaskForm) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx")
        image = random_image(41, 53)
        with dsunet_runtime.load(path, mask_form=form.value) as segmenter:
            assert segmenter.manifest.mask_form is form
            assert_masks_close(segmenter(image), expected_tensors_mask(image, form))

    @pytest.mark.parametrize("batch", ["batch", 2])
    def test_any_sizes_in_one_batch(self, tmp_path: Path, batch: int | str) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", batch=batch)
        images = [random_image(*size) for size in [(5, 7), (40, 30), (16, 16)]]
        with dsunet_runtime.load(path) as segmenter:
            for image, mask in zip(images, segmenter.batch(images), strict=True):
                assert_masks_close(mask, expected_tensors_mask(image))

    def test_not_finite(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", scale=float("nan"))
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match="not finite: export it again without"),
        ):
            segmenter(random_image(4, 4))


class TestLifetime:
    def test_closed_after_the_context(self, frames_artifact: Path) -> None:
        with dsunet_runtime.load(frames_artifact) as segmenter:
            segmenter(random_image(2, 2))
        segmenter.close()
        with pytest.raises(BackendError, match="closed: load the artifact again"):
            segmenter(random_image(2, 2))

    def test_manifest_stays(self, frames_artifact: Path) -> None:
        with dsunet_runtime.load(frames_artifact) as segmenter:
            pass
        assert segmenter.manifest == dsunet_runtime.read_manifest(frames_artifact)


class TestBackend:
    @pytest.mark.parametrize(
        "options",
        [
            {"provider": "cpu"},
            {"threads": 2},
            {"allow_cpu_fallback": True},
            {"mapped_weights": True},
        ],
    )
    def test_engine_with_what_is_for_onnx_files(
        self, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        with pytest.raises(
            BackendError,
            match=r"provider, threads, .* and mapped_weights apply to ONNX files only, and this is",
        ):
            dsunet_runtime.load(tmp_path / "a.engine", **options)

    def test_bfloat16_on_the_cpu(self, tmp_path: Path) -> None:
        """ONNX Runtime computes none, and the message names what does."""
        path = artifacts.bfloat16_frames(tmp_path / "a.onnx")
        with pytest.raises(BackendError, match="the provider 'openvino' runs bf16 artifacts"):
            dsunet_runtime.load(path)

    def test_bfloat16_on_a_provider_that_lacks_operators(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As ONNX Runtime 1.31's CUDA provider: it has no MaxPool in bfloat16."""

        def refuse(*_: object) -> None:
            raise RuntimeError("Provider type for MaxPool")

        path = artifacts.bfloat16_frames(tmp_path / "a.onnx")
        monkeypatch.setattr(onnxruntime_backend, "check_available", lambda *_: None)
        monkeypatch.setattr(onnxruntime_backend, "_open", refuse)
        with pytest.raises(BackendError, match="export with --precision fp16, or build an engine"):
            dsunet_runtime.load(path, provider="cuda")

    def test_form_of_masks_that_the_graph_computes(self, frames_artifact: Path) -> None:
        with dsunet_runtime.load(frames_artifact, mask_form="probability") as segmenter:
            assert segmenter.manifest.mask_form is MaskForm.PROBABILITY
        for form, words in (
            ("stretched", "masks of the form probability: .*, or export with --mask stretched"),
            ("polygons", "unknown mask_form 'polygons': use one of probability, stretched"),
        ):
            with pytest.raises(BackendError, match=words):
                dsunet_runtime.load(frames_artifact, mask_form=form)

    def test_device_tensors(self, segmenter: Segmenter) -> None:
        with pytest.raises(BackendError, match="build an engine with `dsunet-export trt`"):
            segmenter.run_device({}, {}, stream=0)

    def test_unknown_provider(self, frames_artifact: Path) -> None:
        with pytest.raises(
            BackendError,
            match="unknown provider 'gpu': use one of cpu, cuda, tensorrt, rtx, openvino",
        ):
            dsunet_runtime.load(frames_artifact, provider="gpu")

    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_provider_not_in_this_build(
        self, frames_artifact: Path, provider: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
        )
        with pytest.raises(BackendError, match="only cpu: .*" + re.escape(install_command("gpu"))):
            dsunet_runtime.load(frames_artifact, provider=provider)

    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_provider_that_does_not_start(
        self, frames_artifact: Path, provider: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = onnxruntime.InferenceSession

        def on_cpu_instead(path: Path, options: object, **others: object) -> object:
            return create(path, options, providers=["CPUExecutionProvider"])

        monkeypatch.setattr(
            onnxruntime,
            "get_available_providers",
            lambda: [
                "TensorrtExecutionProvider",
                "CUDAExecutionProvider",
                "CPUExecutionProvider",
            ],
        )
        monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu_instead)
        with pytest.raises(BackendError, match=f"'{provider}' did not start: it needs an NVIDIA"):
            dsunet_runtime.load(frames_artifact, provider=provider)

    def test_tensorrt_keeps_its_engines_by_the_graph(
        self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[Any] = []
        create = onnxruntime.InferenceSession

        def remember(path: Path, options: object, providers: Any, **others: object) -> object:
            given.append(dict(providers)["TensorrtExecutionProvider"])
            return create(path, options, providers=["CPUExecutionProvider"])

        names = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
        monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
        sha256 = dsunet_runtime.read_manifest(frames_artifact).graph.sha256
        folder = f"{frames_artifact}.{sha256[:16]}.tensorrt"
        for writable in (True, False):
            monkeypatch.setattr(os, "access", lambda path, mode, answer=writable: answer)
            with pytest.raises(BackendError, match="'tensorrt' did not start"):
                dsunet_runtime.load(frames_artifact, provider="tensorrt")
        assert given[0]["trt_engine_cache_enable"] == "1"
        assert given[0]["trt_engine_cache_path"] == folder
        assert given[1] == {}

    @pytest.mark.parametrize(("before", "after"), [(None, "0"), ("1", "1")])
    def test_tensorrt_computes_no_tf32(
        self,
        frames_artifact: Path,
        before: str | None,
        after: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if before is not None:
            monkeypatch.setenv(TF32, before)
        found = []

        def remember(*arguments: object, **others: object) -> object:
            found.append(os.environ[TF32])
            raise RuntimeError("far enough")

        names = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
        monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
        with pytest.raises(BackendError, match="far enough"):
            dsunet_runtime.load(frames_artifact, provider="tensorrt")
        assert found == [after]

    def test_not_installed(self, frames_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(BackendError, match=re.escape(install_command("cpu"))):
            dsunet_runtime.load(frames_artifact)

    def test_threads(self, frames_artifact: Path, photo: NDArray[np.uint8]) -> None:
        with dsunet_runtime.load(frames_artifact, threads=1) as segmenter:
            np.testing.assert_array_equal(segmenter(photo), artifacts.expected_frames_mask(photo))
        with pytest.raises(BackendError, match="threads is 0"):
            dsunet_runtime.load(frames_artifact, threads=0)

    def test_failure_while_computing(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # A manifest that promises more than the graph holds: any size, where the graph has one.
        dynamic = dsunet_runtime.read_manifest(artifacts.frames(tmp_path / "dynamic.onnx"))
        promised = {"inputs": dynamic.inputs, "outputs": dynamic.outputs}
        path = artifacts.frames(tmp_path / "fixed.onnx", height=6, width=5, **promised)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match=r"ONNX Runtime failed: .*dimensions") as caught,
        ):
            segmenter(random_image(9, 9))
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")
