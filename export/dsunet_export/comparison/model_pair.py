"""Open the two models of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dsunet.evaluation.predictors import Predictor, TorchPredictor, open_predictor
from dsunet.network.config import describe_sizes
from dsunet.torch_device import TorchDevice
from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.file_kinds import is_engine, is_onnx
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy


@contextmanager
def open_pair(
    a: Path,
    b: Path,
    *,
    sam2: Path | None,
    dinov2: str | None,
    weights: str | None,
    device: TorchDevice,
    provider: Provider | None,
    allow_cpu_fallback: bool,
    notice: Callable[[str], None],
) -> Iterator[tuple[Predictor, Predictor]]:
    """Open both models, each with the options for its kind of file.

    A checkpoint uses the mask form and the input sizes of the artifact that it is compared with, so
    that the difference is what the export changed.  `notice` is called with a line if its own sizes
    are others, or if those of two artifacts or two checkpoints differ.

    Raises ExportError if two artifacts have different mask forms, and the exceptions of
    `open_predictor`.
    """
    manifests = {path: read_manifest(path) for path in (a, b) if is_artifact(path)}
    forms = {path: manifest.mask_form for path, manifest in manifests.items()}
    if len({*forms.values()}) > 1:
        raise ExportError(
            f"the masks of {a} are {forms[a]} and those of {b} are {forms[b]}: export both with "
            "the same --mask"
        )
    mask_form = next(iter(forms.values()), MaskForm.STRETCHED)
    sizes = next((manifest.preprocessing.sizes for manifest in manifests.values()), None)

    def opened(path: Path) -> Predictor:
        if path not in manifests:
            return open_predictor(
                path,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device,
                mask_form=mask_form,
                input_sizes=sizes,
                notice=notice,
            )
        return open_predictor(
            path,
            mask_form=mask_form,
            provider=provider if is_onnx(path) else None,
            selftest=SelfTestPolicy.NEVER,  # one that fails can still be compared
            allow_cpu_fallback=allow_cpu_fallback and is_onnx(path),
        )

    with opened(a) as first, opened(b) as second:
        ours, theirs = _input_sizes(first), _input_sizes(second)
        if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
            notice(
                f"the input sizes differ, {describe_sizes(ours)} pixels in {a} and "
                f"{describe_sizes(theirs)} in {b}: so will the masks"
            )
        yield first, second


def _input_sizes(predictor: Predictor) -> Mapping[str, int]:
    if isinstance(predictor, TorchPredictor):
        return predictor.input_sizes
    return predictor.manifest.preprocessing.sizes


def is_artifact(path: Path) -> bool:
    """Return whether a file is an ONNX file or engine, by its suffix."""
    return is_onnx(path) or is_engine(path)


def is_quantized(path: Path) -> bool:
    """Return whether a file is an artifact quantised to 8 bits."""
    return is_artifact(path) and read_manifest(path).precision.quantized is not None
