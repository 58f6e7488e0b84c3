"""The options of a training run.  Does not import PyTorch."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dsunet.errors import TrainingError
from dsunet.network.config import MAX_IMAGE_SIZE, TIMM_PREFIX, DSUNetConfig
from dsunet.torch_device import TorchDevice
from dsunet_runtime.message_text import printable
from dsunet_runtime.plain_values import SystemText

_MAX_COUNT = 1_000_000_000
_MAX_SEED = 2**63 - 1  # PyTorch's generators take 64 bits


class TrainingPrecision(enum.StrEnum):
    """Precision of the network; weights, loss and optimizer are always float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Options of distillation: training on the outputs of a trained network, the teacher.

    Raises TrainingError if a weight is out of range, or both are 0.
    """

    teacher: Path
    """Checkpoint, or run folder, of the teacher; it may have other sizes and another injection."""
    sam2: Path | None = None
    """Official weights of the teacher's encoders, for a checkpoint without them."""
    dinov2: SystemText | None = None
    unlabelled: tuple[Path, ...] = ()
    """Folders of images without masks, whose only losses are those from the teacher."""
    logit_loss: float = 1.0
    """Loss weight of the difference from the teacher's logits."""
    map_loss: float = 1.0
    """Loss weight of the difference from the teacher's fused maps."""

    def __post_init__(self) -> None:
        for name in ("logit_loss", "map_loss"):
            _require(0 <= getattr(self, name) < math.inf, self, name, "0 or more, and finite")
        if not (self.logit_loss or self.map_loss):
            raise TrainingError(
                "--logit-loss and --map-loss are both 0, so the teacher has no effect: set one of "
                "them above 0, or use dsunet train"
            )

    def absolute(self) -> Self:
        """Copy the options with absolute paths."""
        return dataclasses.replace(
            self,
            **_absolute_paths(self),
            dinov2=_absolute_source(self.dinov2),
            unlabelled=tuple(path.absolute() for path in self.unlabelled),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """All options of a training run; the defaults are the paper's protocol.

    Raises TrainingError if an option is out of range, or if options are inconsistent.
    """

    output: Path
    """The run folder."""
    images: Path | None = None
    masks: Path | None = None
    datasets: tuple[Path, ...] = ()
    """Folders of published datasets, used together, instead of `images` and `masks`."""

    config: DSUNetConfig | None = None
    """Configuration; by default that of `checkpoint`, or else the paper's."""
    checkpoint: Path | None = None
    """Checkpoint to start from; by default, trained weights are randomly initialised."""
    hiera_size: int | None = None
    """Side of Hiera's input in pixels; by default that of the network."""
    dino_size: int | None = None
    """Side of DINOv2's input in pixels; by default that of the network."""
    sam2: Path | None = None
    dinov2: SystemText | None = None
    train_encoders: bool = False

    epochs: int = 50
    batch: int = 8
    """Images per optimizer step, over all devices and accumulation steps."""
    lr: float = 1e-3
    min_lr: float = 1e-7
    warmup: float = 0
    """Epochs during which the learning rate rises linearly."""
    weight_decay: float = 5e-4
    clip: float | None = None
    """Maximum gradient norm; None for no clipping."""
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5
    deep_supervision: tuple[float, float, float] = (0.25, 0.5, 1.0)
    """Loss weights of the coarse, middle and fine output."""
    weighted_bce: bool = False
    dino_loss: float = 0.0
    """Loss weight of an auxiliary head on DINOv2's map, which is not saved in checkpoints."""
    blend_hiera: float = 0.0
    """Probability, for each image, of blending Hiera's input with that of another image."""
    mismatch: float = 0.0
    """Probability, for each image, of replacing a map of one encoder, with an empty target."""
    distillation: Distillation | None = None
    """The teacher to learn from, if any."""
    seed: int = 0

    device: TorchDevice = TorchDevice.AUTO
    devices: int = 1
    precision: TrainingPrecision = TrainingPrecision.FP32
    accumulate: int = 1
    """Gradient accumulation steps per batch."""
    checkpointing: bool = False
    cache: Path | None = None
    workers: int = 4

    val_dataset: Path | None = None
    val_images: Path | None = None
    val_masks: Path | None = None
    val_every: int = 1
    val_count: int = 200
    save_every: float = 5.0
    """Minutes between two saves of the state; 0 saves after every step."""
    save_all: bool = False
    """Save the frozen encoders in the checkpoints too."""
    tensorboard: bool = False
    """Also log to TensorBoard, in the run folder."""

    def __post_init__(self) -> None:
        if self.images or self.masks or not (self.datasets or self.unlabelled):
            names = ("--images", "--masks", "--dataset")
            _check_source(self.images, self.masks, self.datasets, *names)
        if self.val_dataset or self.val_images or self.val_masks:
            datasets = (self.val_dataset,) if self.val_dataset else ()
            names = ("--val-images", "--val-masks", "--val-dataset")
            _check_source(self.val_images, self.val_masks, datasets, *names)
        for name in ("epochs", "batch", "devices", "accumulate", "val_every", "val_count"):
            _require(
                1 <= getattr(self, name) <= _MAX_COUNT, self, name, f"from 1 to {_MAX_COUNT:,}"
            )
        for name, highest in (("workers", _MAX_COUNT), ("seed", _MAX_SEED)):
            _require(0 <= getattr(self, name) <= highest, self, name, f"from 0 to {highest:,}")
        for name in ("hiera_size", "dino_size"):
            size = getattr(self, name)
            fits = size is None or 1 <= size <= MAX_IMAGE_SIZE
            _require(fits, self, name, f"from 1 to {MAX_IMAGE_SIZE}")
        for name in ("min_lr", "warmup", "weight_decay", "dino_loss", "save_every"):
            _require(0 <= getattr(self, name) < math.inf, self, name, "0 or more, and finite")
        for name in ("horizontal_flip", "vertical_flip", "blend_hiera", "mismatch"):
            _require(0 <= getattr(self, name) <= 1, self, name, "from 0 to 1")
        _require(0 < self.lr < math.inf, self, "lr", "more than 0, and finite")
        _require(
            self.clip is None or 0 < self.clip < math.inf, self, "clip", "more than 0, and finite"
        )
        _require(
            all(0 <= weight < math.inf for weight in self.deep_supervision)
            and max(self.deep_supervision) > 0,
            self,
            "deep_supervision",
            "0 or more and finite, not all of them 0",
        )
        if self.batch % (self.devices * self.accumulate):
            raise TrainingError(
                f"--batch {self.batch} is not divisible by --devices {self.devices} times "
                f"--accumulate {self.accumulate}: choose a multiple of "
                f"{self.devices * self.accumulate}"
            )
        if self.dino_loss and not self.train_encoders:
            raise TrainingError(
                "--dino-loss trains DINOv2, which is frozen: add --train-encoders, or omit "
                "--dino-loss"
            )
        if self.distillation and (self.blend_hiera or self.mismatch):
            raise TrainingError(
                "--blend-hiera and --mismatch change the inputs of the student, not those of the "
                "teacher: omit them"
            )
        if self.cache and self.train_encoders:
            raise TrainingError(
                "--cache requires a frozen DINOv2, which --train-encoders trains: give only one of "
                "them"
            )

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of the losses by name, in the order of the losses.

        They are those of the decoder's outputs from masks, and then, if the run has them, those of
        the auxiliary head and of the differences from the teacher.
        """
        weights = dict(zip(("coarse", "middle", "fine"), self.deep_supervision, strict=True))
        if self.dino_loss:
            weights["dino"] = self.dino_loss
        if self.distillation:
            weights["logits"] = self.distillation.logit_loss
            weights["maps"] = self.distillation.map_loss
        return weights

    @property
    def unlabelled(self) -> tuple[Path, ...]:
        """Folders of images without masks."""
        return self.distillation.unlabelled if self.distillation else ()

    @property
    def worker_count(self) -> int:
        """Number of processes that load images: `workers`, limited to the number of cores."""
        return min(self.workers, os.cpu_count() or 1)

    def absolute(self) -> Self:
        """Copy the options with absolute paths, to resume from any working directory."""
        return dataclasses.replace(
            self,
            **_absolute_paths(self),
            dinov2=_absolute_source(self.dinov2),
            datasets=tuple(path.absolute() for path in self.datasets),
            distillation=self.distillation.absolute() if self.distillation else None,
        )


def _absolute_paths(options: Distillation | TrainingOptions) -> dict[str, Any]:
    """The absolute paths of all fields that are paths."""
    return {
        field.name: value.absolute()
        for field in dataclasses.fields(options)
        if isinstance(value := getattr(options, field.name), Path)
    }


def _absolute_source(source: str | None) -> str | None:
    """The absolute path of a source of weights that is a file."""
    if source is None or source.startswith(TIMM_PREFIX):
        return source
    return str(Path(source).absolute())


def _check_source(
    images: Path | None, masks: Path | None, datasets: tuple[Path, ...], *names: str
) -> None:
    for_images, for_masks, for_datasets = names
    both = f"{for_images} and {for_masks}"
    if datasets and (images or masks):
        raise TrainingError(f"{for_datasets} replaces {both}: omit {both}")
    if not datasets and not (images and masks):
        raise TrainingError(f"give either {both}, or {for_datasets}")


def _require(holds: bool, options: Distillation | TrainingOptions, name: str, range_: str) -> None:
    if not holds:
        option, value = "--" + name.replace("_", "-"), printable(getattr(options, name), 40)
        raise TrainingError(f"{option} is {value}: it must be {range_}")
