"""The model of the GPU benchmarks: 8-bit frames to 8-bit masks, in PyTorch and as an artifact."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from exports import export_ours, new_model
from torch import Tensor, nn

import dsunet_runtime
from dsunet.network.model import DSUNet
from dsunet_export.graph.forms import Postprocess, Preprocess
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact.manifest import InputForm, MaskForm
from dsunet_runtime.bench.image import DEFAULT_SIZE, make_image
from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.images.decode import read_rgb
from dsunet_runtime.provider import Provider

MASK_FORM = MaskForm.STRETCHED
"""The form with the larger differences: stretching amplifies rounding."""


class Frames(nn.Module):
    """8-bit frames to 8-bit masks; the network may have another type than the preprocessing."""

    def __init__(self, model: DSUNet, dtype: torch.dtype) -> None:
        super().__init__()
        self.preprocess = Preprocess(list(model.config.input_sizes.values()))
        self.model = model.to(dtype)
        self.postprocess = Postprocess(MASK_FORM)
        self.dtype = dtype

    def logits(self, image: Tensor) -> Tensor:
        """uint8 N×H×W×3 RGB to float32 N×1×S×S."""
        inputs = (one.to(self.dtype) for one in self.preprocess(image))
        fine: Tensor = self.model(*inputs).fine
        return fine.float()

    def forward(self, image: Tensor) -> Tensor:
        """uint8 N×H×W×3 RGB to uint8 N×H×W."""
        mask: Tensor = self.postprocess(self.logits(image), (image.shape[1], image.shape[2]))
        return mask


def make_frames(batch: int, size: tuple[int, int] = DEFAULT_SIZE) -> Tensor:
    """The image of `dsunet-run bench`, height×width, and its mirrored copies: N×H×W×3."""
    with tempfile.TemporaryDirectory() as folder:
        image = torch.tensor(read_rgb(make_image(Path(folder) / "image.jpg", size)))
    return torch.stack([image.flip(1) if index % 2 else image for index in range(batch)])


def frames_artifact(preset: str, precision: ExportPrecision, folder: Path) -> Path:
    """Export a preset in `frames` form with randomly initialised weights, unless it exists."""
    path = folder / f"{preset}_{precision}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        export_ours(
            new_model(preset),
            path,
            input_form=InputForm.FRAMES,
            mask_form=MASK_FORM,
            batch=None,
            precision=precision,
        )
    return path


def mask_parity(runner: Runner, reference: Path) -> dict[str, float]:
    """Return the largest difference of masks, in levels of 255, from an artifact on the CPU."""
    images = list(make_frames(2).numpy())
    masks = []
    for one in (runner, Runner(reference, Provider.CPU)):
        with dsunet_runtime.load(one.artifact, provider=one.provider) as segmenter:
            masks.append(np.stack(segmenter.batch(images)).astype(int))
    difference = np.abs(masks[0] - masks[1])
    return {"mean": float(difference.mean()), "largest": float(difference.max())}
