"""Predictors of masks: a checkpoint in PyTorch, an ONNX artifact, or a TensorRT engine.

They share the three steps of `dsunet_runtime.Segmenter`: `prepare`, `infer` and `finish`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsunet.errors import EvaluationError
from dsunet.network.config import describe_sizes
from dsunet.torch_device import TorchDevice
from dsunet_runtime.artifact.file_kinds import is_engine, is_onnx
from dsunet_runtime.artifact.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputForm,
    MaskForm,
    Preprocessing,
)
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import BackendError
from dsunet_runtime.forms import EncoderTensors, Prepared
from dsunet_runtime.images.decode import ImageLike
from dsunet_runtime.masks.blank_masks import SAME_LOGITS, BlankMasks
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter, load
from dsunet_runtime.selftest.policy import SelfTestPolicy

if TYPE_CHECKING:
    import torch

    from dsunet.checkpoints.run_checkpoint import Notice
    from dsunet.network.model import DSUNet


class TorchPredictor(Closeable):
    """Predicts masks with a PyTorch model, by the paper's protocol.

    Pillow resamples the image, the model computes in float32, and the mask is stretched to the
    range 0 to 255, or as `mask_form` specifies.  The model must be in evaluation mode on `device`,
    and is not modified; `close` releases it.  `refuse_constant=False` accepts a model whose output
    is the same for every image, such as one in training.

    Example:
        >>> with TorchPredictor(load_model("model.pth")) as predictor:
        ...     mask = predictor("photo.jpg")
    """

    concurrency = 1
    best_batch = 1
    input_sizes: dict[str, int]
    """Side of each encoder's square input in pixels, by name."""

    def __init__(
        self,
        model: DSUNet,
        device: torch.device | str = "cpu",
        mask_form: MaskForm = MaskForm.STRETCHED,
        *,
        refuse_constant: bool = True,
    ) -> None:
        self._model: DSUNet | None = model
        self._device = device
        self.input_sizes = model.config.input_sizes
        preprocessing = Preprocessing(False, self.input_sizes, IMAGENET_MEAN, IMAGENET_STD)
        self._form = EncoderTensors(preprocessing, mask_form)
        self._blank_masks = (
            BlankMasks.of_logits(f"{SAME_LOGITS}: use another checkpoint", self._outputs)
            if refuse_constant
            else None
        )

    def __call__(self, image: ImageLike) -> NDArray[np.uint8]:
        """Predict the mask of one image: H×W, uint8, 0 to 255, of the size of the upright image.

        Raises ImageError if the image cannot be read, and BackendError if the computation fails.
        """
        prepared = self.prepare(image)
        return self.finish(self.infer([prepared])[0], prepared)

    def prepare(self, image: ImageLike) -> Prepared:
        """First step: decode an image and compute the encoders' inputs."""
        return self._form.read(image)

    def infer(self, prepared: Sequence[Prepared]) -> list[Tensors]:
        """Second step: compute the fine logits of each image, 1×S×S.

        Raises BackendError if the computation fails or its result is not finite.
        """
        import torch

        model = self._open()
        if model.training:
            raise BackendError("the model is in training mode: call its eval() first")
        if not prepared:  # no image of the batch could be read
            return []
        try:
            with torch.inference_mode():
                inputs = {
                    name: torch.from_numpy(np.stack([p.inputs[name] for p in prepared])).to(
                        self._device
                    )
                    for name in prepared[0].inputs
                }
                logits = model(**inputs).fine.float().cpu().numpy()
        except RuntimeError as error:  # of PyTorch, including out of memory
            raise BackendError(f"PyTorch: {str(error).splitlines()[0]}") from error
        if not np.isfinite(logits).all():
            raise BackendError("the model's output is not finite: its weights are damaged")
        return [{"logits": row} for row in logits]

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        """Third step: compute the mask of one image from its logits.

        Raises BackendError if the model's output is the same for every image.
        """
        mask = self._form.finish(outputs, prepared)
        if self._blank_masks is not None:
            self._blank_masks.check(outputs)
        return mask

    def highest_level(self, outputs: Tensors) -> int | None:
        """Return the highest probability in the mask of one image, 0 to 255."""
        return self._form.highest_level(outputs)

    def close(self) -> None:
        """Release the model."""
        self._model = None

    def _outputs(self, images: Sequence[ImageLike]) -> list[Tensors]:
        return self.infer([self.prepare(image) for image in images])

    def _open(self) -> DSUNet:
        if self._model is None:
            raise BackendError("this predictor is closed: open it again")
        return self._model


Predictor = TorchPredictor | Segmenter


def open_predictor(
    path: Path,
    *,
    sam2: Path | None = None,
    dinov2: str | None = None,
    weights: str | None = None,
    device: TorchDevice = TorchDevice.AUTO,
    mask_form: MaskForm = MaskForm.STRETCHED,
    input_sizes: Mapping[str, int] | None = None,
    provider: Provider | None = None,
    selftest: SelfTestPolicy = SelfTestPolicy.AUTO,
    allow_cpu_fallback: bool = False,
    notice: Notice | None = None,
) -> Predictor:
    """Open a model for prediction.

    Args:
        path: NAME.onnx, NAME.engine, NAME.plan, or else a checkpoint.
        sam2: SAM2 weights, for a checkpoint; see `dsunet.load_model`.
        dinov2: DINOv2 weights, for a checkpoint.
        weights: Name of the network in a checkpoint file.
        device: Device of a checkpoint's model.
        mask_form: Form of the masks.  An artifact of the frames form has its own.
        input_sizes: Side of each encoder's input in pixels, by name, for a checkpoint; by default
            its own.  Encoders that the network lacks are ignored.  See `dsunet.resize_inputs`.
        provider: What computes an ONNX file; None is ONNX Runtime on the CPU.
        selftest: When an artifact runs its self-test; see `dsunet_runtime.load`.
        allow_cpu_fallback: Whether a provider on a GPU may leave the network to the CPU.
        notice: Called with one line per notice about a checkpoint.

    Raises:
        EvaluationError: An option was given that does not apply to this kind of file.
        CheckpointError: The checkpoint cannot be loaded.
        dsunet_runtime.RuntimeFault: The artifact cannot be loaded.
    """
    if is_onnx(path) or is_engine(path):
        given = (sam2, dinov2, weights)
        if any(option is not None for option in given) or device is not TorchDevice.AUTO:
            raise EvaluationError(
                f"{path}: --sam2, --dinov2, --weights and --device apply to checkpoints only: "
                "omit them"
            )
        computes_masks = read_manifest(path).input_form is InputForm.FRAMES
        return load(
            path,
            provider=provider,
            selftest=selftest,
            allow_cpu_fallback=allow_cpu_fallback,
            mask_form=None if computes_masks else mask_form,
        )
    if provider is not None:
        raise EvaluationError(
            f"{path}: --provider applies to ONNX files only: use --device, or omit it"
        )
    from dsunet import load_model

    target = device.resolve()
    load_sized = partial(load_model, path, sam2=sam2, dinov2=dinov2, weights=weights, notice=notice)
    model = load_sized()
    own = model.config.input_sizes
    sizes = {name: (input_sizes or own).get(name, side) for name, side in own.items()}
    if sizes != own:
        if notice is not None:
            notice(
                f"{path}: runs with inputs of {describe_sizes(sizes)} pixels, instead of its own "
                f"{describe_sizes(own)}"
            )
        model = load_sized(hiera_size=sizes["hiera"], dino_size=sizes.get("dino"))
    return TorchPredictor(model.to(target), target, mask_form)
