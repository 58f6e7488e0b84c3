"""A and B, from their files."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsunet.device import Device
from dsunet.evaluation.predictors import Predictor, open_predictor
from dsunet_export.errors import ExportError
from dsunet_runtime.artifact import read_manifest
from dsunet_runtime.command import complain
from dsunet_runtime.file_kinds import is_engine, is_onnx
from dsunet_runtime.manifest import MaskForm
from dsunet_runtime.provider import Provider


@contextmanager
def open_pair(
    a: Path,
    b: Path,
    *,
    sam2: Path | None,
    dinov2: str | None,
    weights: str | None,
    device: Device,
    provider: Provider | None,
) -> Iterator[tuple[Predictor, Predictor]]:
    """Both, each with the options that are for its kind.

    A checkpoint makes its masks as the artifact beside it does.  Raises ExportError if two
    artifacts make them in different ways, and what `open_predictor` raises.
    """
    forms = {path: read_manifest(path).mask_form for path in (a, b) if is_artifact(path)}
    if len({*forms.values()}) > 1:
        raise ExportError(
            f"the masks of {a} are {forms[a]} and those of {b} are {forms[b]}: export one of them "
            "again with the other's --mask"
        )
    mask_form = next(iter(forms.values()), MaskForm.STRETCHED)

    def opened(path: Path) -> Predictor:
        if path not in forms:
            return open_predictor(
                path,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device,
                mask_form=mask_form,
                notice=functools.partial(complain, "dsunet-export"),
            )
        return open_predictor(path, provider=provider if is_onnx(path) else None)

    with opened(a) as first, opened(b) as second:
        yield first, second


def is_artifact(path: Path) -> bool:
    """Whether a file is what `dsunet-export` writes, by its suffix."""
    return is_onnx(path) or is_engine(path)


def is_quantized(path: Path) -> bool:
    """Whether it is an artifact with products of 8 bits."""
    return is_artifact(path) and read_manifest(path).precision.quantized is not None
