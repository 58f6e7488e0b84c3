"""Images in: whatever a user has, as 8-bit RGB, and as the encoders' inputs.

Every image is brought upright as its EXIF data say; a mask has the size of the upright image.
Colours become RGB as Pillow's `convert("RGB")` makes them, which is what the paper's code does:
grey is repeated, palettes are looked up, and an alpha channel is dropped, not composited: what lies
under transparent pixels stays visible.  Of 16-bit values the high byte is kept, which is also how
Pillow reads 16-bit colour; `bit_depth` tells where they are none.  Of a file with several frames
the first is taken.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from dsunet_runtime.bit_depth import check_colour, depth_of, grey_levels, stored_levels
from dsunet_runtime.errors import ImageError
from dsunet_runtime.image_files import explain, with_image
from dsunet_runtime.message_text import shorten

ImageLike = NDArray[np.uint8] | Image.Image | str | os.PathLike[str]
"""An array H×W×3, uint8, RGB, 0 to 255; a Pillow image; or the path of an image file."""


_UPRIGHT = 1
_SIDEWAYS = 5  # and all above
_WIDTH, _HEIGHT = 256, 257  # TIFF's tags
_OPAQUE = 255
_SEVERAL_VIEWS = "MPO"
"""Of this format all frames are the same photograph: its other eye, its depth, its gain map."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says without being decoded."""

    shape: tuple[int, int]
    """Height and width of the upright image."""
    orientation: int = _UPRIGHT
    """By EXIF, 1 to 8; 1 without EXIF."""
    is_first_of_several: bool = False
    """Whether the file has more frames."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image, and what its file says besides its colours."""

    rgb: NDArray[np.uint8]
    """Contiguous, H×W×3, 0 to 255, upright."""
    header: Header
    is_grey: bool = False
    """By its format; one in colour may have grey pixels only."""
    is_transparent: bool = False
    """Whether a pixel is not wholly opaque."""
    stored: NDArray[np.uint16] | None = None
    """H×W, upright: grey values of more than 8 bits, of which `rgb` has the high bytes."""
    bits: int = 8
    """Number of bits of a value in the file, 8 to 16; of those of `stored`, if there are any."""


def as_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """An image as a contiguous array H×W×3, uint8, RGB, 0 to 255, upright.

    Raises ImageError if it cannot be read, is empty, or is of a type whose range is not known.
    """
    return decode(image).rgb


def decode(image: ImageLike) -> Decoded:
    """An image as in `as_rgb`, with what else its file says.  Raises ImageError likewise."""
    if isinstance(image, np.ndarray):
        rgb = _checked_array(image)
        return Decoded(rgb, Header(rgb.shape[:2]))
    if isinstance(image, Image.Image):
        try:
            return _decoded(image)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise whatever their parsers trip over
            raise ImageError(explain(error)) from error
    if isinstance(image, str | os.PathLike):
        return with_image(Path(image), _decoded)
    raise ImageError(
        f"an image is an array, a Pillow image or a path, not {type(image).__name__}: "
        f"convert it to a uint8 array H×W×3"
    )


def encoder_input(
    rgb: NDArray[np.uint8],
    side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> NDArray[np.float32]:
    """An RGB image H×W×3, 0 to 255, as 3×side×side: resampled by Pillow, scaled, normalised."""
    values = np.asarray(resampled(rgb, side)).transpose(2, 0, 1).astype(np.float32, order="C")
    values /= 255
    values -= np.asarray(mean, np.float32)[:, None, None]
    values /= np.asarray(std, np.float32)[:, None, None]
    return values


def resampled(rgb: NDArray[np.uint8], side: int) -> Image.Image:
    """An RGB image H×W×3 as side×side pixels: Pillow's antialiased bilinear filter.

    First across, then down, in two calls: Pillow 13 would take a tall image the other way round,
    which moves values by 1, and the weights were trained with what Pillow did before.
    """
    bilinear = Image.Resampling.BILINEAR
    across = Image.fromarray(rgb).resize((side, rgb.shape[0]), bilinear)
    return across.resize((side, side), bilinear)


def _checked_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            f"an array of shape {array.shape} is no RGB image: give one of shape H×W×3, "
            f"or a Pillow image"
        )
    if array.dtype != np.uint8:
        raise ImageError(
            f"an array of {array.dtype} has no known range: give uint8 values from 0 to 255"
        )
    if array.size == 0:
        raise ImageError(f"an array of shape {array.shape} is empty: give at least one pixel")
    return np.ascontiguousarray(array)


def first_frames(paths: Sequence[Path]) -> str:
    """A line on files with several frames, of which the first was read."""
    return f"only the first frame is used of {shorten(path.name for path in paths)}"


def read_header(path: Path) -> Header:
    """What an image file says in its header.  Raises ImageError if it cannot be read."""
    return with_image(path, _header)


def is_sideways(orientation: int) -> bool:
    """Whether an EXIF orientation exchanges height and width."""
    return orientation >= _SIDEWAYS


def _header(image: Image.Image) -> Header:
    """Of an image that is not loaded yet."""
    orientation = _orientation(image)
    tags = getattr(image, "tag_v2", {})  # Pillow gives a TIFF image's size as it will be upright
    height, width = tags.get(_HEIGHT, image.height), tags.get(_WIDTH, image.width)
    return Header(
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
    )


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    return value if value in range(1, 9) else _UPRIGHT


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
        # The same colours; straight to RGB, Pillow warns of the transparency or refuses.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
