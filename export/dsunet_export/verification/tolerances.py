"""The limits of all comparisons, each with the evidence for it.

They limit the differences of `measures`.  The self-test's own limits are in the manifest, where the
export writes them; `dsunet_runtime` has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsunet_runtime.artifact.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest differences from the reference with which an artifact is written."""

    logits: float
    """Difference that 99.9 % of the logits do not exceed, as a fraction of their deviation.  Single
    ones may differ by any finite amount, where attention is peaked: of 123,904 logits of `large`,
    with the weights of the reference data, one differed by 0.011, and all by 4.6e-5 on average."""
    logits_mean: float
    """Mean difference of the logits, in the same unit."""
    widest_mask: float
    """Upper bound of the tolerance of a mask, in levels of 0 to 255.  Stretching a mask whose
    probabilities are all similar amplifies rounding without bound; a larger tolerance could hide a
    fault."""
    mask_mean_fraction: float
    """Tolerance of the mean difference of a mask, as a fraction of the mask's tolerance."""
    mask_follows_logits: bool = True
    """Whether the tolerance of a mask is derived from that of its logits where that is smaller."""
    iou: float = 0.0
    """Smallest intersection over union at probability 0.5."""


FLOAT32 = Tolerance(logits=1e-2, logits_mean=1e-3, widest_mask=16.0, mask_mean_fraction=0.03)
"""Two float32 programs that sum in different orders agree to 1e-5 in the encoders' maps; where the
decoder's attention is peaked, that grows to a few 1e-3.  Measured means were 1e-4 or less.  A wrong
operation shows as 1e-1.

In a mask, truncation turns a tiny difference into a whole level, but for few pixels: measured means
were 0.005 levels or less, and 0.06 with one MLP of DINOv2 missing."""
LENIENT = Tolerance(
    logits=3.0,
    logits_mean=0.2,
    widest_mask=255.0,
    mask_mean_fraction=0.05,
    mask_follows_logits=False,
    iou=0.8,
)
"""Tolerance for randomly initialised weights, whose peaked attention amplifies rounding, and for
random pixels, in which a trained model finds no object, so that stretching amplifies rounding.

Measured with random weights in float16 (`nano` and `tiny` with two seeds, `small` with one): means
of 0.002 to 0.093 and IoUs of 0.997 to 0.926 on random pixels, 0.003 to 0.030 and 0.998 to 0.985 on
a photograph; in bfloat16, with an earlier form of the graph, up to 0.15 and 0.89.  Single logits
may differ far more, where attention selects another token.  Unrelated maps differ by 1.1 on average
and have an IoU of one third.  Faults that this tolerance hides, such as one wrong weight, are found
by the comparison of the float32 graph, which has a smaller one."""
LENIENT_IN_8_BITS = replace(LENIENT, logits_mean=0.4)
"""`LENIENT` for 8 bits, whose ranges are calibrated on images, and not on random pixels.  Measured
with the demonstration checkpoint in fp8 on random pixels: a mean of 0.26."""
STRICT = replace(LENIENT, logits_mean=0.1, mask_mean_fraction=0.01, iou=0.95)
"""Tolerance for trained weights on images: 2.55 levels of a mask on average.  The random weights
above pass in float16 with at most 1.4 levels."""
EIGHT_BITS = replace(STRICT, iou=0.8)
"""Tolerance for trained weights quantised to 8 bits, which change logits by 0.02 standard
deviations: for a small object with most pixels near probability 0.5 that costs a tenth of the IoU
(measured: down to 0.90 on 16 scenes)."""


def tolerance_for(manifest: Manifest, *, is_noise: bool = False) -> Tolerance:
    """Return the tolerance of an artifact, for images or for random pixels."""
    if manifest.precision.element_type == "float32":
        return FLOAT32
    in_8_bits = manifest.precision.quantized is not None
    if manifest.weights_are_random or is_noise:
        return LENIENT_IN_8_BITS if in_8_bits else LENIENT
    return EIGHT_BITS if in_8_bits else STRICT


MASK_LEVELS = 1.0
"""Mean difference of the masks of two models that `dsunet-export verify` allows, in levels of 0 to
255.  Measured with the demonstration checkpoint: 0.01 between PyTorch and float32, 0.1 in float16;
with faults of float16 planted, 5 and more."""
MASK_LEVELS_OF_8_BITS = 255 * EIGHT_BITS.mask_mean_fraction
"""Mean difference of the masks that the export allows in 8 bits, in levels.  Measured with two
demonstration checkpoints, on images and random pixels: int8 up to 1.8, fp8 up to 2.1 and 2.6."""

LAYER_ERROR = 1e-3
"""Relative error that every layer may have: two float16 roundings."""
LAYER_MEDIAN_FACTOR = 100.0
"""A layer is at fault if its own error exceeds this multiple of the median of the layers before it.
In float16, a softmax of large scores or the small difference of large numbers reaches 90 times the
median without being wrong."""
LAYER_ERROR_OF_8_BITS = 0.4
"""Relative error that every layer of a quantised graph may have: twice the largest noise of an
input (`quantize.NOISIEST`), because a softmax or GELU amplifies it.  Measured on the demonstration
checkpoint: up to 0.11 for int8 and 0.32 for fp8."""

SELFTEST_LEVELS = 0.5
"""Difference of the block means of a mask that every self-test allows, in levels of 0 to 255.
Measured: 0.01 or less in float32 between ONNX Runtime, OpenVINO and PyTorch, 0.1 in float16."""
SELFTEST_CONTRAST = 128.0
"""Range of a mask in levels below which the self-test allows less, in proportion: in a mask of
small probabilities rounding is small, and so is what a fault changes."""
SELFTEST_FEWEST_LEVELS = 0.02
"""Difference that the self-test allows in any mask: one level at one of its 64 points, after
`SELFTEST_POINTS`, and at four more."""
SELFTEST_POINTS = 4.0
"""Tolerance at points, as a multiple of that of the block means: at edges, single points differ
more."""
SELFTEST_MARGIN = 6.0
"""Multiple of the artifact's own rounding error, computed at the export, that the self-test allows
if that is larger than the tolerances above.  Measured with two demonstration checkpoints: OpenVINO
is 1.5 and 3.6 times as far off as the emulated rounding in bfloat16."""
SELFTEST_MARGIN_8_BITS = 3.0
"""`SELFTEST_MARGIN` in 8 bits, where the rounding is large and is computed, not emulated: OpenVINO
is 1.0 times as far off as ONNX Runtime in int8, and 1.2 times in fp8."""
