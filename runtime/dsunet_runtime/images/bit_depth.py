"""Images with more than 8 bits per channel, or with signed values, as 8-bit levels.

An image file states how many bits a value is stored in, but seldom how many of them are used.
Cameras and instruments store 10 or 12 bits in 16, and some programs store 8.  Read as 16 bits, such
images are almost black.  TIFF has a tag for the highest value.  Without it, an image that uses less
than a sixteenth of its range is rejected, and so are files that Pillow misreads without an error.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.errors import ImageError

# TIFF's tags and their values.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _FILL_ORDER, _MAX_SAMPLE_VALUE = 258, 262, 266, 281
_PLANAR_CONFIGURATION, _SAMPLE_FORMAT = 284, 339
_WHITE_IS_ZERO, _YCBCR, _LOW_BIT_FIRST, _SEPARATE, _SIGNED = 0, 6, 2, 2, 2

_FEWEST_BITS, _MOST_BITS = 8, 16
_LOWEST_PEAK = 1 << 12
"""If all values of a 16-bit image are below this, the image is assumed to have 12 bits or fewer."""
_LOWEST_LOSSY_PEAK = _LOWEST_PEAK * 5 // 4
"""The limit for lossy compression, whose values overshoot."""
_NO_RANGE = "pixels have no known range: save it with 8 or 16 bits"
_SIGNED_PIXELS = "signed pixels have no known range: save it unsigned, with 8 or 16 bits"
_AS_PNG = "save it as a PNG or TIFF file of 8 or 16 bits"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_HEADER_BYTES = 1 << 20
_FITS_CARD = 80
_BC = {"BC5S": "signed", "BC6H": "floating-point", "BC6HS": "floating-point"}
"""Compressed DDS formats whose values Pillow converts to 8 bits."""


@dataclass(frozen=True, slots=True)
class Depth:
    """The range of the values that Pillow decodes."""

    bits: int = _FEWEST_BITS
    """Bits per value, 8 to 16: of decoded grey values, or of stored colours, whose high byte Pillow
    keeps."""
    lowest_peak: int = 0
    """The image is rejected if no value reaches this; 0 if the range is known."""
    is_inverted: bool = False
    """Whether 0 is white and Pillow does not invert it."""


_UNKNOWN = Depth(_MOST_BITS, _LOWEST_PEAK)


def depth_of(image: Image.Image) -> Depth:
    """Return the depth of an image that is not loaded yet.

    Raises ImageError for values without a known range, and for files that Pillow misreads.
    """
    raw = _raw_mode(image)
    if ";16" in raw and raw.endswith("S"):
        raise ImageError(_SIGNED_PIXELS)
    if tags := getattr(image, "tag_v2", None):
        return _tiff(image, tags)
    match image.format:
        case "PPM":
            return _ppm(image)
        case "JPEG2000":
            return _jpeg_2000(image)
        case "FITS":
            _check_fits(image)
        case "DDS":
            if kind := _BC.get(getattr(image, "pixel_format", "")):
                raise ImageError(f"{kind} {_NO_RANGE}")
    if _tile(image)[0] == "SGI16" or ";16" in raw or image.mode.startswith("I"):
        return _UNKNOWN
    return Depth()


def stored_levels(values: NDArray[np.integer], depth: Depth) -> NDArray[np.uint16]:
    """Convert grey values H×W to levels of `depth.bits` bits, where 0 is black.

    Raises ImageError if a value is outside the range of `depth`, or if too little of it is used.
    """
    highest = int(values.max())
    if values.min() < 0 or highest > 0xFFFF:
        raise ImageError(f"32-bit {_NO_RANGE}")
    if highest >> depth.bits:
        raise ImageError(f"declares {depth.bits} bits, but its highest value is {highest}")
    if highest:
        _check_peak(highest, depth)
    levels = values.astype(np.uint16)
    return np.uint16((1 << depth.bits) - 1) - levels if depth.is_inverted else levels


def grey_levels(levels: NDArray[np.uint16], depth: Depth) -> NDArray[np.uint8]:
    """Convert the result of `stored_levels` to 8 bits by keeping the high byte."""
    return (levels >> (depth.bits - 8)).astype(np.uint8)


def check_colour(rgb: Image.Image, depth: Depth) -> None:
    """Raise ImageError if a 16-bit colour image uses too little of its range.

    `rgb` has the high bytes, which Pillow keeps.
    """
    if not depth.lowest_peak:
        return
    extrema = rgb.getextrema()
    highest = max(high for _, high in extrema)  # type: ignore[misc]  # of three bands, so pairs
    _check_peak((int(highest) << 8) + 0xFF, depth)


def _check_peak(highest: int, depth: Depth) -> None:
    if highest < depth.lowest_peak:
        raise ImageError(
            f"has 16 bits, but no value above {highest}, as if it had {highest.bit_length()} bits "
            "or fewer: save it with 8 bits, or with values up to 65535"
        )


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the pixel format of the file, such as `RGB;16B`."""
    first = next(iter(_decoder_arguments(image)), "")
    return first if isinstance(first, str) else ""


def _decoder_arguments(image: Image.Image) -> tuple[object, ...]:
    arguments = _tile(image)[2]
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _tile(image: Image.Image) -> tuple[str, int, object]:
    """Return the first tile's decoder, its offset in the file, and the decoder's arguments."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return "", 0, ()
    name, _, start, arguments = tiles[0]
    return name, start, arguments


def _tiff(image: Image.Image, tags: Mapping[int, object]) -> Depth:
    bits = max(_integers(tags, _BITS_PER_SAMPLE), default=1)
    if bits <= _MOST_BITS and _SIGNED in _integers(tags, _SAMPLE_FORMAT):
        raise ImageError(_SIGNED_PIXELS)
    is_inverted = _WHITE_IS_ZERO in _integers(tags, _PHOTOMETRIC)
    if image.info.get("compression") == "raw":
        _check_layout(image, tags, bits, is_inverted)
    if bits <= _FEWEST_BITS or image.mode == "F":
        return Depth()
    is_grey = image.mode.startswith("I")
    declared = _declared_bits(tags) if bits > 12 else bits
    if declared is None or declared == _MOST_BITS:
        return Depth(_MOST_BITS, _LOWEST_PEAK, is_inverted and is_grey)
    if not is_grey:
        raise ImageError(
            f"has colours of {declared} bits in {bits} (TIFF's MaxSampleValue), of which only the "
            "high byte could be read: save it with 8 bits, or with values up to 65535"
        )
    return Depth(declared, is_inverted=is_inverted)


def _check_layout(
    image: Image.Image, tags: Mapping[int, object], bits: int, is_inverted: bool
) -> None:
    """Raise ImageError for layouts of uncompressed TIFF files that Pillow misreads."""
    if _SEPARATE in _integers(tags, _PLANAR_CONFIGURATION):
        is_plain = bits in (1, 8) and not is_inverted
        if not is_plain or _LOW_BIT_FIRST in _integers(tags, _FILL_ORDER):
            raise ImageError(
                f"stores its channels separately, uncompressed, {bits} bits each, which cannot be "
                "read: save it with interleaved channels (TIFF's PlanarConfiguration 1)"
            )
    # Pillow 11 reads four bytes a pixel, and Pillow 13 takes subsampled files for whole ones.
    if _YCBCR in _integers(tags, _PHOTOMETRIC) and image.mode != "L":
        raise ImageError("is an uncompressed TIFF file of YCbCr: save it as RGB")


def _declared_bits(tags: Mapping[int, object]) -> int | None:
    """Return the bits used according to MaxSampleValue; None unless it is 2ⁿ - 1."""
    highest = max(_integers(tags, _MAX_SAMPLE_VALUE), default=0)
    bits = highest.bit_length()
    is_whole = highest == (1 << bits) - 1
    return bits if is_whole and _FEWEST_BITS <= bits <= _MOST_BITS else None


def _integers(tags: Mapping[int, object], tag: int) -> tuple[int, ...]:
    value = tags.get(tag)
    values = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in values if isinstance(one, int))


def _ppm(image: Image.Image) -> Depth:
    """Return the depth of a PPM file.  Pillow scales its values, those of colours to 8 bits."""
    is_grey = image.mode.startswith("I")
    if 0xFFFF in _decoder_arguments(image) or (is_grey and _raw_mode(image).startswith("I;16")):
        return _UNKNOWN
    numbers = [one for one in _decoder_arguments(image) if isinstance(one, int)]
    return Depth(_MOST_BITS) if is_grey or max(numbers, default=0) > 0xFF else Depth()


def _jpeg_2000(image: Image.Image) -> Depth:
    """Return the depth of a JPEG 2000 file.

    Pillow makes signed values unsigned, and scales grey values of 9 to 15 bits to 16.  It rounds
    colours of more than 8 bits to 8, and the highest values become 0.
    """
    precisions = _jpeg_2000_precisions(image)
    if precisions and precisions[0] & 0x80:
        raise ImageError(_SIGNED_PIXELS)
    is_grey = image.mode.startswith("I")
    bits = max(((one & 0x7F) + 1 for one in precisions), default=_MOST_BITS if is_grey else 8)
    if bits > (_MOST_BITS if is_grey else 8):
        raise ImageError(
            f"has {bits} bits a channel in JPEG 2000, which cannot be read: save it with 8 bits, "
            "or as a PNG file of 16 bits"
        )
    if not is_grey:
        return Depth()
    return Depth(_MOST_BITS, _LOWEST_LOSSY_PEAK if bits == _MOST_BITS else 0)


def _jpeg_2000_precisions(image: Image.Image) -> bytes:
    """Return one byte per channel: its bits minus 1, and 0x80 if signed.  Empty if not found."""
    start = _first_bytes(image)
    size = start.find(_JPEG_2000_START) + 4
    if size < 4 or len(start) < size + 38:
        return b""
    (count,) = struct.unpack_from(">H", start, size + 36)
    return start[size + 38 : size + 38 + 3 * count : 3]


def _check_fits(image: Image.Image) -> None:
    """Raise ImageError for 16-bit values, which are signed, and for an offset or a scale."""
    if image.mode.startswith("I;16"):
        raise ImageError(f"FITS pixels of 16 bits are signed, without a known range: {_AS_PNG}")
    header = _first_bytes(image)[: _tile(image)[1]]
    for start in range(0, len(header), _FITS_CARD):
        name, _, value = header[start : start + _FITS_CARD].partition(b"=")
        number = value.partition(b"/")[0].strip()
        neutral = {b"BZERO": 0.0, b"BSCALE": 1.0}.get(name.strip())
        if neutral is not None and not _is_number(number, neutral):
            raise ImageError(f"has BZERO or BSCALE, which are not applied: {_AS_PNG}")


def _is_number(text: bytes, number: float) -> bool:
    try:
        return float(text.replace(b"D", b"E")) == number
    except ValueError:
        return False


def _first_bytes(image: Image.Image) -> bytes:
    """Return the start of the file of an image; empty if the image is loaded already."""
    file = getattr(image, "fp", None)
    if file is None or not _tile(image)[0]:
        return b""
    position = file.tell()
    file.seek(0)
    start: bytes = file.read(_HEADER_BYTES)
    file.seek(position)
    return start
