"""Decoding of images to 8-bit RGB, and preprocessing for the encoders.

Images are rotated upright by their EXIF orientation; a mask has the size of the upright image.
Colours are converted by Pillow's `convert("RGB")`, as in the paper's code: grey is repeated,
palettes are looked up, and an alpha channel is dropped without compositing, so that colours under
transparent pixels stay visible.  Of 16-bit values the high byte is used, as Pillow does for 16-bit
colour; see `bit_depth` for files with fewer significant bits.  If a file has several frames, the
first one is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.bit_depth import check_colour, depth_of, grey_levels, stored_levels
from dsunet_runtime.images.files import why_not_decoded, with_content, with_image
from dsunet_runtime.images.frame import Frame
from dsunet_runtime.message_text import shorten

ImageLike = NDArray[np.uint8] | Frame | Image.Image | str | os.PathLike[str] | bytes | BinaryIO
"""A uint8 array H×W×3 in RGB order, 0 to 255; a frame; a Pillow image; the path of a file; the
bytes of a file; or a binary file object.
"""

_UPRIGHT = 1
_SIDEWAYS = 5  # this and all larger values
_WIDTH, _HEIGHT = 256, 257  # TIFF's tags
_OPAQUE = 255
_SPACE = slice(16, 20)
"""The bytes of an ICC profile with the colour space of the pixels."""
_LARGEST_PROFILE = 1 << 20
"""In bytes; Pillow does not read larger ones from PNG files.  Those of cameras have 0.5 to 4 kB."""
_SEVERAL_VIEWS = "MPO"
"""A format whose further frames belong to the same photograph: stereo views, depth, gain map."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Properties of an image file that are known without decoding it."""

    shape: tuple[int, int]
    """Height and width of the upright image."""
    orientation: int = _UPRIGHT
    """EXIF orientation, 1 to 8; 1 without EXIF."""
    is_first_of_several: bool = False
    """Whether the file has several frames."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image with properties of its file."""

    rgb: NDArray[np.uint8]
    """Contiguous, H×W×3, 0 to 255, upright."""
    header: ImageHeader
    is_grey: bool = False
    """Whether its pixel format is grey; a colour image may still contain only grey pixels."""
    is_transparent: bool = False
    """Whether a pixel is not fully opaque."""
    stored: NDArray[np.uint16] | None = None
    """H×W, upright: grey values of more than 8 bits, of which `rgb` has the high bytes."""
    bits: int = 8
    """Bits per value in the file, 8 to 16; bits of the values of `stored`, if it is not None."""
    icc_profile: bytes | None = None
    """ICC profile of the values of `rgb`; None for sRGB."""


def as_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """Decode an image to a contiguous, upright array H×W×3, uint8, RGB, 0 to 255.

    Raises ImageError if it cannot be read, is empty, or its value range is unknown.
    """
    return decode_image(image).rgb


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode an image file like `as_rgb`.  The message of its ImageError begins with the path."""
    try:
        return as_rgb(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def decode_image(image: ImageLike) -> Decoded:
    """Decode an image like `as_rgb`, with properties of its file.  Raises ImageError."""
    if isinstance(image, np.ndarray):
        image = Frame(image)
    if isinstance(image, Frame):
        rgb = image.to_rgb()
        return Decoded(rgb, ImageHeader(rgb.shape[:2]))
    if isinstance(image, Image.Image):
        try:
            return _decoded(image)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise exceptions of any type
            raise ImageError(why_not_decoded(error)) from error
    if isinstance(image, str | os.PathLike):
        return with_image(Path(image), _decoded)
    if isinstance(image, bytes | bytearray | memoryview) or hasattr(image, "read"):
        return with_content(image, _decoded)
    raise ImageError(
        f"an image is an array, a Frame, a Pillow image, a path, bytes or a file object, not "
        f"{type(image).__name__}: convert it to a uint8 array H×W×3"
    )


def encoder_input(
    rgb: NDArray[np.uint8],
    side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Resample an RGB image (uint8, H×W×3) by Pillow and normalise it: float32, 3×side×side."""
    values = np.asarray(resampled(rgb, side)).transpose(2, 0, 1).astype(np.float32, order="C")
    values /= 255
    values -= np.asarray(mean, np.float32)[:, None, None]
    values /= np.asarray(std, np.float32)[:, None, None]
    return values


def resampled(rgb: NDArray[np.uint8], side: int) -> Image.Image:
    """Resample an RGB image (uint8, H×W×3) to side×side by Pillow's antialiased bilinear filter.

    Columns are resampled before rows, in two calls.  In one call, Pillow 13 uses the other order
    for tall images, which changes some values by 1; the published weights were trained with the
    order of earlier versions.
    """
    bilinear = Image.Resampling.BILINEAR
    across = Image.fromarray(rgb).resize((side, rgb.shape[0]), bilinear)
    return across.resize((side, side), bilinear)


def first_frames(paths: Sequence[Path]) -> str:
    """Return a notice about files with several frames, of which only the first was used."""
    return f"several frames in {shorten(path.name for path in paths)}: only the first is used"


def no_objects(paths: Sequence[Path], highest: int) -> str:
    """Return a notice about masks without a pixel above the threshold 0.5.

    `highest` is the highest probability in these masks, 0 to 255.
    """
    names = shorten(path.name for path in paths)
    return f"no object found in {names}: the highest value is {highest} of 255"


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file.  Raises ImageError if it cannot be read."""
    return with_image(path, _header)


def is_sideways(orientation: int) -> bool:
    """Whether an EXIF orientation swaps height and width."""
    return orientation >= _SIDEWAYS


def _header(image: Image.Image) -> ImageHeader:
    """Header of an image that is not loaded yet."""
    orientation = _orientation(image)
    tags = getattr(image, "tag_v2", {})  # Pillow reports the upright size of TIFF images
    height, width = tags.get(_HEIGHT, image.height), tags.get(_WIDTH, image.width)
    return ImageHeader(
        shape=(width, height) if is_sideways(orientation) else (height, width),
        orientation=orientation,
        is_first_of_several=(
            bool(getattr(image, "is_animated", False)) and image.format != _SEVERAL_VIEWS
        ),
    )


def _decoded(image: Image.Image) -> Decoded:
    if not (image.width and image.height):
        raise ImageError("the image is empty: give one of at least one pixel")
    depth, header = depth_of(image), _header(image)
    image.load()  # which turns TIFF images, and finds what follows the pixels of PNG images
    orientation = header.orientation if header.orientation != _UPRIGHT else _orientation(image)
    upright = _upright(image)
    stored = None
    if upright.mode.startswith("I"):
        stored = stored_levels(np.asarray(upright), depth)
        rgb = _to_rgb(Image.fromarray(grey_levels(stored, depth)))
    else:
        rgb = _to_rgb(upright)
        check_colour(rgb, depth)
    pixels = np.ascontiguousarray(rgb)
    return Decoded(
        rgb=pixels,
        header=replace(header, shape=pixels.shape[:2], orientation=orientation),
        is_grey=image.mode in ("1", "L") or image.mode.startswith("I"),
        is_transparent=_is_transparent(image),
        stored=stored,
        bits=depth.bits,
        icc_profile=_rgb_profile(image),
    )


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    return value if value in range(1, 9) else _UPRIGHT


def _rgb_profile(image: Image.Image) -> bytes | None:
    """Return the image's ICC profile, unless it is for pixels of grey or CMYK, or too large."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > _LARGEST_PROFILE:
        return None
    return profile if profile[_SPACE] == b"RGB " else None


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest != _OPAQUE


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == _UPRIGHT else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("floating-point pixels have no known range: save it with 8 or 16 bits")
    if image.mode in ("P", "PA", "RGBa", "La"):
        # Pillow cannot convert these directly to RGB, or warns about transparency.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
