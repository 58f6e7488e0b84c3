"""From a checkpoint to masks: real exports through the command, run as users run them.

Each form, mask, batch, frame size and operator set is in at least one of a few exports.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet import DSUNet, DSUNetConfig, checkpoint_sha256, random_model, resize_inputs, save_model
from dsunet.network.config import Injection
from dsunet_runtime import Manifest
from dsunet_runtime.artifact.manifest import InputForm, MaskForm
from dsunet_runtime.masks.mask_from_logits import mask_from_logits
from tests.export.engines import trt
from tests.export.helpers import (
    SMALL,
    SMALL_UNET,
    assert_same_masks,
    export,
    random_frames,
    reference_logits,
    session,
)

NANO_CONFIG = DSUNetConfig.preset("nano")


@dataclass(frozen=True)
class Case:
    """An export: its options, and the expected properties."""

    config: DSUNetConfig
    options: tuple[object, ...]
    form: InputForm = InputForm.FRAMES
    mask: MaskForm = MaskForm.PROBABILITY
    batch: int | str = "batch"
    size: tuple[int | str, int | str] = ("height", "width")
    opset: int = 20
    plain: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    """Of the artifact's inputs, where they are not the checkpoint's."""


CASES = {
    "default": Case(NANO_CONFIG, ()),
    "tensors": Case(
        SMALL,
        ("--input", "tensors", "--batch", 3, "--opset", 18, "--plain"),
        form=InputForm.TENSORS,
        batch=3,
        opset=18,
        plain=True,
        sizes={"hiera_size": 128, "dino_size": 56},
    ),
    "fixed": Case(
        SMALL.replace(injection=Injection.LEVELS),
        ("--size", "61x83", "--batch", 1, "--mask", "stretched", "--opset", 23),
        mask=MaskForm.STRETCHED,
        batch=1,
        size=(61, 83),
        opset=23,
    ),
    "ablation-a": Case(
        SMALL.replace(injection=Injection.NONE),
        ("--input", "tensors", "--mask", "stretched", "--batch", 2, "--plain"),
        form=InputForm.TENSORS,
        mask=MaskForm.STRETCHED,
        batch=2,
        plain=True,
    ),
    "sam2-unet": Case(
        SMALL_UNET,
        ("--mask", "stretched"),
        mask=MaskForm.STRETCHED,
    ),
}


@dataclass(frozen=True)
class Exported:
    """The files and the output of an export."""

    case: Case
    model: DSUNet
    checkpoint: Path | None
    path: Path
    output: str

    @property
    def manifest(self) -> Manifest:
        return dsunet_runtime.read_manifest(self.path)

    def expected_mask(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Compute a mask as the published code does, with the plain model."""
        logits = reference_logits(self.model, image)
        return mask_from_logits(logits, image.shape[:2], self.case.mask)


@pytest.fixture(scope="module", params=CASES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    case, folder = CASES[request.param], tmp_path_factory.mktemp(request.param)
    if request.param == "default":
        path = request.getfixturevalue("frames")
        return Exported(case, random_model(case.config), None, path, "")
    model = random_model(case.config, seed=5)
    checkpoint, path = folder / "weights.safetensors", folder / "model.onnx"
    save_model(model, checkpoint)
    sizes = [f"--{name.replace('_', '-')}={size}" for name, size in case.sizes.items()]
    result = export(checkpoint, "-o", path, *case.options, *sizes)
    assert result.exit_code == 0, result.output
    assert {file.name for file in folder.iterdir()} == {checkpoint.name, path.name}
    resized = resize_inputs(model, **case.sizes).eval()
    return Exported(case, resized, checkpoint, path, result.stdout)


def test_manifest_describes_the_graph(exported: Exported) -> None:
    manifest, proto = exported.manifest, onnx.load(exported.path)
    onnx.checker.check_model(proto, full_check=True)
    dtypes = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}
    for specs, values in (
        (manifest.inputs, proto.graph.input),
        (manifest.outputs, proto.graph.output),
    ):
        assert [spec.name for spec in specs] == [value.name for value in values]
        for spec, value in zip(specs, values, strict=True):
            tensor = value.type.tensor_type
            assert spec.dtype == dtypes[tensor.elem_type]
            assert spec.shape == tuple(d.dim_param or d.dim_value for d in tensor.shape.dim)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", exported.case.opset)]


def test_manifest_records_the_options(exported: Exported) -> None:
    manifest, case = exported.manifest, exported.case
    config = case.config.resized(**case.sizes)
    assert DSUNetConfig.from_dict(manifest.model) == config
    assert (manifest.input_form, manifest.mask_form) == (case.form, case.mask)
    assert manifest.preprocessing.sizes == config.input_sizes
    assert manifest.preprocessing.in_graph == (case.form is InputForm.FRAMES)
    shapes = {spec.name: spec.shape for spec in (*manifest.inputs, *manifest.outputs)}
    if case.form is InputForm.FRAMES:
        assert shapes == {"image": (case.batch, *case.size, 3), "mask": (case.batch, *case.size)}
    else:
        sizes = {name: (case.batch, 3, s, s) for name, s in config.input_sizes.items()}
        side = config.hiera.image_size
        assert shapes == {**sizes, "logits": (case.batch, 1, side, side)}
    assert not manifest.files
    assert {"dsunet", "torch", "onnx", "onnxruntime", "python"} <= manifest.built_with.keys()


def test_manifest_records_the_origin_of_the_weights(exported: Exported) -> None:
    manifest = exported.manifest
    if exported.checkpoint is None:
        assert manifest.weights_origin == "random (seed 0)"
        assert manifest.checkpoint_sha256 is None
        assert manifest.weights_are_random
    else:
        assert manifest.weights_origin == exported.checkpoint.name
        assert manifest.checkpoint_sha256 == checkpoint_sha256(exported.checkpoint)
        assert not manifest.weights_are_random


def test_multiply_adds_are_recorded(exported: Exported) -> None:
    manifest = exported.manifest
    assert bool(manifest.rewrites) is not exported.case.plain
    if manifest.rewrites:
        assert manifest.macs == manifest.rewrites[-1].macs_after < manifest.rewrites[0].macs_before
    assert 1e7 < manifest.macs < 1e10


def test_other_input_sizes_are_printed_with_the_multiply_adds(exported: Exported) -> None:
    """Without rewrites, those of the artifact are the ones that are printed."""
    change = (
        "inputs of 128 (hiera) and 56 (dino) pixels instead of 160 (hiera) and 98 (dino): "
        f"0.418 G multiply-adds -> {exported.manifest.macs / 1e9:.3f} G before the rewrites\n"
    )
    assert (change in exported.output) is bool(exported.case.sizes)
    assert ("inputs of" in exported.output) is bool(exported.case.sizes)


def test_verification_is_recorded(exported: Exported) -> None:
    """Logits too where the artifact has masks, which say little where nothing is found."""
    checks = exported.manifest.verification
    outputs = ["logits", "mask"] if exported.case.form is InputForm.FRAMES else ["logits"]
    assert [(check.output, check.inputs.split()[0]) for check in checks] == [
        (output, image) for output in outputs for image in ("random", "photograph")
    ]
    for check in checks:
        assert 0 <= check.mean_abs_error <= check.max_abs_error <= check.tolerance
    if exported.output:
        said = [f"{check.inputs}: {check.output} differs by at most" for check in checks]
        assert f"{len(checks)} comparisons, the worst: " in exported.output
        assert sum(line in exported.output for line in said) == 1


def test_masks_are_those_of_the_published_code(
    exported: Exported, photo: NDArray[np.uint8]
) -> None:
    sizes = [(1, 1), (1, 40), (37, 5), (160, 160), (301, 203)]
    images = [random_frames(1, *size, seed=size[0])[0] for size in sizes] + [photo]
    if exported.case.size != ("height", "width"):
        images = [random_frames(1, 61, 83)[0], photo]
    with dsunet_runtime.load(exported.path, threads=1) as segmenter:
        # Several at once, of equal and of unequal sizes; then one at a time.
        for image, mask in zip(images, segmenter.batch([*images, photo]), strict=False):
            assert_same_masks(mask, exported.expected_mask(image))
        assert_same_masks(segmenter(photo), exported.expected_mask(photo))


def test_images_of_one_batch_do_not_see_each_other(exported: Exported) -> None:
    if exported.case.form is InputForm.TENSORS or exported.case.batch == 1:
        pytest.skip("takes no batch of frames")
    images = random_frames(3, 50, 70)
    images[1] //= 4
    run = session(exported.path).run
    (together,) = run(None, {"image": images})
    for image, mask in zip(images, together, strict=True):
        (alone,) = run(None, {"image": image[None]})
        assert_same_masks(mask, alone[0])
        if exported.case.mask is MaskForm.STRETCHED:  # by its own extremes
            assert (mask.min(), mask.max()) in {(0, 254), (0, 255)}


def test_the_file_has_no_paths_of_this_machine(exported: Exported) -> None:
    data = exported.path.read_bytes()
    for text in (Path(__file__).parents[2], exported.path.parent, Path.home()):
        assert str(text).encode() not in data
    assert b"site-packages" not in data


def test_the_file_has_the_permissions_of_the_umask(frames: Path, tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(frames.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_frames_of_a_fixed_size(
    exported: Exported, tmp_path: Path, precision: str
) -> None:
    """Resampling weights of one size are constants, which stay in float32.

    They are a tenth of the weights of nano.  TensorRT's compiler fails if only some of them are
    constants.
    """
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    if exported.case.size == ("height", "width"):
        pytest.skip("any size, which tests/export/tensorrt/test_build.py builds")
    engine = tmp_path / "fixed.engine"
    result = trt(exported.path, "-o", engine, "--gpu", "rtx4090", "--precision", precision)
    assert result.exit_code == 0, result.output
    (profile,) = dsunet_runtime.read_manifest(engine).profiles
    assert profile.minimum == profile.maximum == (1, 61, 83, 3)
