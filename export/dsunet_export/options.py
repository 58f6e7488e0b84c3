"""Options of an export.  Does not import PyTorch, so that wrong options are refused at once."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsunet_export.artifact import is_shared_name
from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import FLOAT8, InputForm, MaskForm, Precision
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import quote, reason

DEFAULT_OPSET = 20
"""First opset with a Gelu operator."""
LARGEST_BATCH, LARGEST_SIDE = 256, 16384
"""Limits of a fixed batch and size, at which the artifact is traced and verified in memory."""
OPSETS = range(18, 24)
"""From the oldest that PyTorch's exporter writes to the newest that TensorRT 10 reads."""
FLOAT8_OPSET = 19
"""First opset with 8-bit floats."""
FLOAT16_MAX = 65504.0
"""The float16 maximum."""
LARGEST_PATTERN_FILE = 1_000_000
"""Bytes; `large` has 4,000 nodes."""
LONGEST_PATTERN = 1000
"""Characters; names of nodes have fewer than 500."""
IMAGES_COMPARED = 16
"""Number of `ExportOptions.images` to verify with: each is computed four times."""


class ExportPrecision(enum.StrEnum):
    """Values of `dsunet-export onnx --precision`."""

    FP32 = Compute.FP32
    FP16 = Compute.FP16
    BF16 = Compute.BF16
    INT8 = "int8"
    """Linear layers of both encoders in 8-bit integers, the rest in float32."""
    FP8 = "fp8"
    """Linear layers of both encoders in 8-bit floats (E4M3), the rest in float32."""

    @property
    def is_quantized(self) -> bool:
        """Whether layers are quantised to 8 bits, which needs images for calibration."""
        return self in (ExportPrecision.INT8, ExportPrecision.FP8)

    @property
    def compute(self) -> Compute:
        """Precision of the layers that are not quantised."""
        return Compute.FP32 if self.is_quantized else Compute(self.value)

    @classmethod
    def of(cls, precision: Precision) -> Self:
        """Return the option with which an ONNX file of this precision is exported."""
        if precision.quantized:
            return cls("fp8" if precision.quantized.data_type == FLOAT8 else "int8")
        return cls(Compute.of(precision.compute).value)


class Attention(enum.StrEnum):
    """Values of `--attention`: the form in which attention is written."""

    FUSED = "fused"
    """The form for which TensorRT has fused kernels."""
    UNFUSED = "unfused"
    """Softmax over transposed scores, for which TensorRT has no fused kernel."""
    FLOAT32 = "float32"
    """Scores and softmax in float32 where the rest is in 16 bits: no fused kernel takes that."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an ONNX export.  Raises ExportError if they do not fit together."""

    input_form: InputForm = InputForm.FRAMES
    mask_form: MaskForm = MaskForm.PROBABILITY
    batch: int | None = None
    """Batch size; None for dynamic."""
    size: tuple[int, int] | None = None
    """Height and width of `frames`; None for dynamic."""
    opset: int = DEFAULT_OPSET
    rewrite: bool = True
    """Whether to apply the exact rewrites."""
    verify: bool = True
    precision: ExportPrecision = ExportPrecision.FP32
    keep_fp32: tuple[str, ...] = ()
    """Patterns of names of nodes to keep in float32."""
    attention: Attention = Attention.FUSED
    images: Path | None = None
    """Folder of sample images: for fp16 to detect overflow, for int8 and fp8 to calibrate on.  The
    result is verified on the first of them, on random pixels and on a photograph."""
    shared_weights: str | None = None
    """Name, without the hash that is added, of a file for the frozen weights beside the artifact;
    None to keep them in the artifact."""

    def __post_init__(self) -> None:
        if self.input_form is InputForm.TENSORS and self.size is not None:
            raise ExportError(
                "--size is for --input frames; the encoders' sizes of --input tensors are fixed"
            )
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise ExportError(f"batch {self.batch}: give a number from 1 to {LARGEST_BATCH}")
        if self.size is not None and not all(1 <= n <= LARGEST_SIDE for n in self.size):
            raise ExportError(f"size {self.size}: give sides from 1 to {LARGEST_SIDE}")
        if self.precision is ExportPrecision.FP32 and (self.keep_fp32 or self.images):
            raise ExportError(
                "--keep-fp32 and --images are for --precision fp16, bf16, int8 or fp8; with fp32 "
                "they have no effect"
            )
        if self.attention is Attention.FLOAT32 and self.precision.compute is Compute.FP32:
            raise ExportError(
                f"--attention float32 is for --precision fp16 or bf16: with {self.precision} "
                "attention is in float32 already; to avoid fused kernels use --attention unfused"
            )
        if self.precision.is_quantized and self.images is None:
            raise ExportError(
                f"--precision {self.precision} needs images to calibrate on: give --images DIR "
                "with a few dozen images that are typical of the application"
            )
        if self.precision is ExportPrecision.FP8 and self.opset < FLOAT8_OPSET:
            raise ExportError(f"--precision fp8 needs --opset {FLOAT8_OPSET} or later")
        if self.shared_weights is not None and not is_shared_name(self.shared_weights):
            raise ExportError(
                f"--shared-weights {quote(self.shared_weights)}: give the name of a file without a "
                "folder, for example backbone.data; it is written beside the ONNX file"
            )
        if self.opset not in OPSETS:
            raise ExportError(
                f"opset {self.opset} is not supported: choose one from {OPSETS[0]} to {OPSETS[-1]}"
            )

    @property
    def batch_axis(self) -> int | str:
        """Batch dimension of every tensor in the manifest: a number or `batch`."""
        return "batch" if self.batch is None else self.batch

    @property
    def frame_axes(self) -> tuple[int | str, int | str]:
        """Height and width of `frames` in the manifest: numbers or axis names."""
        return ("height", "width") if self.size is None else self.size


def read_patterns(arguments: Sequence[str]) -> list[str]:
    """Expand `--keep-fp32` arguments to patterns; `@FILE` names a file of one pattern per line.

    Empty lines and comments after `#` are ignored.  Raises ExportError if a file cannot be read or
    has no patterns, or if a pattern is empty or too long.
    """
    patterns = []
    for argument in arguments:
        if not argument.strip():
            raise ExportError(
                "--keep-fp32 is empty: give a pattern, for example 'sff.2*', or @FILE"
            )
        if not argument.startswith("@"):
            patterns.append(argument)
            continue
        try:
            with open_regular(argument[1:]) as file:
                content = file.read(LARGEST_PATTERN_FILE + 1)
            if len(content) > LARGEST_PATTERN_FILE:
                raise ExportError(
                    f"--keep-fp32 {argument}: the file is larger than 1 MB: write one pattern per "
                    "line"
                )
            text = content.decode("utf-8")
        except OSError as error:
            raise ExportError(f"--keep-fp32 {argument}: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise ExportError(f"--keep-fp32 {argument}: the file is not UTF-8 text") from error
        found = [line.partition("#")[0].strip() for line in text.splitlines()]
        if not any(found):
            raise ExportError(
                f"--keep-fp32 {argument}: the file has no patterns: write one per line"
            )
        patterns += filter(None, found)
    for pattern in patterns:
        if len(pattern) > LONGEST_PATTERN:
            raise ExportError(
                f"--keep-fp32 {quote(pattern)} has {len(pattern):,} characters: the limit is "
                f"{LONGEST_PATTERN:,}"
            )
    return patterns


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """Origin of a model's weights, for the manifest."""

    description: str
    """A file's name, or `random (seed N)`."""
    checkpoint_sha256: str | None = None
    are_random: bool = False

    @classmethod
    def random(cls, seed: int) -> Self:
        """Describe the weights of `random_model` with a seed."""
        return cls(f"random (seed {seed})", are_random=True)
