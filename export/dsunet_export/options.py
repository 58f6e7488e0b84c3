"""What can be asked of an export.  No PyTorch here, so that a wrong wish is answered at once."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsunet_export.errors import ExportError
from dsunet_runtime.compute import Compute
from dsunet_runtime.files import open_regular
from dsunet_runtime.manifest import InputForm, MaskForm
from dsunet_runtime.message_text import quote, reason

DEFAULT_OPSET = 20
"""The first in which GELU is one operation."""
LARGEST_BATCH, LARGEST_SIDE = 256, 16384
"""An artifact of a fixed size is traced and verified at that size, in memory."""
OPSETS = range(18, 24)
"""The oldest that PyTorch's exporter writes, to the newest that TensorRT 10 reads."""
FLOAT8_OPSET = 19
"""The first with 8-bit floats."""
FLOAT16_MAX = 65504.0
LARGEST_PATTERN_FILE = 1_000_000
"""Bytes; `large` has 4,000 nodes."""
LONGEST_PATTERN = 1000
"""Characters; no node has a name half as long."""
IMAGES_COMPARED = 16
"""Of `ExportOptions.images`, the first so many are compared on: each is computed four times."""


class ExportPrecision(enum.StrEnum):
    """What `dsunet-export onnx --precision` takes."""

    FP32 = Compute.FP32
    FP16 = Compute.FP16
    BF16 = Compute.BF16
    INT8 = "int8"
    """Matrix products of both encoders in 8-bit integers, the rest in float32."""
    FP8 = "fp8"
    """The same in 8-bit floats, E4M3."""

    @property
    def is_quantized(self) -> bool:
        """Whether it is calibrated on images."""
        return self in (ExportPrecision.INT8, ExportPrecision.FP8)

    @property
    def compute(self) -> Compute:
        """The element type of what is not quantised."""
        return Compute.FP32 if self.is_quantized else Compute(self.value)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an artifact should be.  Raises ExportError if it cannot be that."""

    input_form: InputForm = InputForm.FRAMES
    mask_form: MaskForm = MaskForm.STRETCHED
    batch: int | None = None
    """Images at once; None for any number."""
    size: tuple[int, int] | None = None
    """Height and width of `frames`; None for any."""
    opset: int = DEFAULT_OPSET
    rewrite: bool = True
    """Whether to apply the exact rewrites."""
    verify: bool = True
    precision: ExportPrecision = ExportPrecision.FP32
    keep_fp32: tuple[str, ...] = ()
    """Patterns of names of nodes that stay in float32."""
    images: Path | None = None
    """A folder of images on which magnitudes are measured, and the result compared, besides random
    pixels and a photograph; for int8 and fp8 the ones to calibrate on."""

    def __post_init__(self) -> None:
        if self.input_form is InputForm.TENSORS and self.size is not None:
            raise ExportError(
                "--size is for --input frames; with tensors the encoders' sizes are fixed"
            )
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise ExportError(f"batch {self.batch}: give a number from 1 to {LARGEST_BATCH}")
        if self.size is not None and not all(1 <= n <= LARGEST_SIDE for n in self.size):
            raise ExportError(f"size {self.size}: give sides from 1 to {LARGEST_SIDE}")
        if self.precision is ExportPrecision.FP32 and (self.keep_fp32 or self.images):
            raise ExportError(
                "--keep-fp32 and --images are for --precision fp16, bf16, int8 or fp8; all is "
                "float32 already"
            )
        if self.precision.is_quantized and self.images is None:
            raise ExportError(
                f"--precision {self.precision} is calibrated on images like those it will see: "
                f"give --images DIR, some tens of them"
            )
        if self.precision is ExportPrecision.FP8 and self.opset < FLOAT8_OPSET:
            raise ExportError(f"--precision fp8 needs --opset {FLOAT8_OPSET} or later")
        if self.opset not in OPSETS:
            raise ExportError(
                f"opset {self.opset} is not supported: choose one from {OPSETS[0]} to {OPSETS[-1]}"
            )

    @property
    def batch_axis(self) -> int | str:
        """The first dimension of every tensor, as the manifest says it."""
        return "batch" if self.batch is None else self.batch

    @property
    def frame_axes(self) -> tuple[int | str, int | str]:
        """Height and width of `frames`, as the manifest says them."""
        return ("height", "width") if self.size is None else self.size


def read_patterns(arguments: Sequence[str]) -> list[str]:
    """Patterns of node names, those of a file where an argument is `@FILE`: one a line.

    Empty lines and what follows a `#` are left out.  Raises ExportError if the file cannot be read
    or has none, and for a pattern that is empty or too long.
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
                    f"--keep-fp32 {argument}: is larger than 1 MB: one pattern a line"
                )
            text = content.decode("utf-8")
        except OSError as error:
            raise ExportError(f"--keep-fp32 {argument}: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise ExportError(f"--keep-fp32 {argument}: is no text") from error
        found = [line.partition("#")[0].strip() for line in text.splitlines()]
        if not any(found):
            raise ExportError(f"--keep-fp32 {argument}: the file has no pattern: one a line")
        patterns += filter(None, found)
    for pattern in patterns:
        if len(pattern) > LONGEST_PATTERN:
            raise ExportError(
                f"--keep-fp32 {quote(pattern)} has {len(pattern):,} characters, more than any name "
                f"of a node: give {LONGEST_PATTERN:,} at most"
            )
    return patterns


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """Where a model's weights come from."""

    description: str
    """A file's name, or `random (seed N)`."""
    checkpoint_sha256: str | None = None
    are_random: bool = False

    @classmethod
    def random(cls, seed: int) -> Self:
        """Of `random_model`."""
        return cls(f"random (seed {seed})", are_random=True)
