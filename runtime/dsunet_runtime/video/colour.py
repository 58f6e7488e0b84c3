"""From decoded frames to 8-bit RGB, and from RGB to the pixel formats of encoders."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.video.hdr import Hdr, sdr_from_hdr

if TYPE_CHECKING:
    from av import VideoFrame

BT709 = 1
"""The matrix, the primaries and the transfer characteristic of BT.709 in ISO/IEC 23091-2."""
LIMITED = 1
"""FFmpeg's number of the range of 16 to 235."""
_FULL = 2
_UNSPECIFIED = 2
_BT601 = 5
_KNOWN_TO_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Numbers of matrices in libswscale, by their numbers in ISO/IEC 23091-2."""
_LARGEST_SD = (1280, 576)
"""Untagged video is BT.709, as in players, from this width on or above this height."""

# Bilinear chroma, rounding and no dithering: within a level of the formula.
_BILINEAR, _FULL_CHROMA, _ACCURATE, _BIT_EXACT = 2, 0x2000, 0x40000, 0x80000
_EXACT = _BILINEAR | _FULL_CHROMA | _ACCURATE | _BIT_EXACT


def hdr_of(transfer: int) -> Hdr | None:
    """Return the kind of HDR of a transfer characteristic of ISO/IEC 23091-2; None for SDR."""
    with suppress(ValueError):
        return Hdr(transfer)
    return None


def to_rgb(frame: VideoFrame, hdr: Hdr | None = None) -> NDArray[np.uint8]:
    """Convert a stored frame of any pixel format to RGB, uint8, H×W×3; HDR becomes SDR."""
    matrix = _matrix(frame)
    pixels = frame.to_ndarray(  # not rgb48, which libswscale gets wrong with full chroma
        format="rgb24" if hdr is None else "gbrp16le",
        src_colorspace=matrix,
        # RGB has no matrix, but PyAV 16 sets that of the source only if this one differs.
        dst_colorspace=_BT601 if matrix == BT709 else BT709,
        src_color_range=frame.color_range or LIMITED,
        dst_color_range=_FULL,
        interpolation=_EXACT,
    )
    return pixels if hdr is None else sdr_from_hdr(pixels, hdr)  # type: ignore[return-value, arg-type]


def to_encoder_frame(pixels: NDArray[np.uint8], format_: str) -> VideoFrame:
    """Convert grey H×W, RGB H×W×3 or RGBA H×W×4 to a pixel format of YUV: BT.709, limited range."""
    from av import VideoFrame

    stored = {2: "gray", 3: "rgb24"}[pixels.ndim]
    if pixels.shape[2:] == (4,):
        stored = "rgba"
    frame = VideoFrame.from_ndarray(pixels, format=stored)
    frame.color_range = _FULL
    converted = frame.reformat(
        format=format_,
        dst_colorspace=BT709,
        dst_color_range=LIMITED,
        interpolation=_EXACT,
    )
    converted.colorspace, converted.color_range = BT709, LIMITED
    return converted


def _matrix(frame: VideoFrame) -> int:
    """Number of the frame's matrix in libswscale."""
    wide, high = _LARGEST_SD
    by_size = BT709 if frame.width >= wide or frame.height > high else _BT601
    return _KNOWN_TO_SWSCALE.get(frame.colorspace, by_size)
