"""Images in: whatever a user has, as 8-bit RGB, and as the encoders' inputs.

Every image is brought upright as its EXIF data say; a mask has the size of the upright image.
Colours become RGB as Pillow's `convert("RGB")` makes them, which is what the paper's code does:
grey is repeated, palettes are looked up, and an alpha channel is dropped, not composited: what lies
under transparent pixels stays visible.  Of 16-bit values the high byte is kept, which is also how
Pillow reads 16-bit colour.  Of a file with several frames the first is taken.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dsunet_runtime.errors import ImageError

ImageLike = NDArray[np.uint8] | Image.Image | str | os.PathLike[str]
"""An array H×W×3, uint8, RGB, 0 to 255; a Pillow image; or the path of an image file."""


def as_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """An image as a contiguous array H×W×3, uint8, RGB, 0 to 255, upright.

    Raises ImageError if it cannot be read, is empty, or is of a type whose range is not known.
    """
    if isinstance(image, np.ndarray):
        return _checked_array(image)
    if isinstance(image, Image.Image):
        return _decoded(image)
    if isinstance(image, str | os.PathLike):
        return _read(Path(image))
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


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return _decoded(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or of a format that is not known here") from error
    except Exception as error:  # what is no error of the file system is one of a broken header
        raise ImageError(f"cannot be read: {_reason(error)}") from error


def _decoded(image: Image.Image) -> NDArray[np.uint8]:
    if not (image.width and image.height):
        raise ImageError("the image is empty: give one of at least one pixel")
    try:
        image.load()
        return np.ascontiguousarray(_to_rgb(_upright(image)))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsers trip over
        raise ImageError(f"damaged, or of an unknown kind: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("floating-point pixels have no known range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_high_byte(np.asarray(image))).convert("RGB")
    if image.mode in ("P", "PA", "RGBa", "La"):
        # The same colours; straight to RGB, Pillow warns of the transparency or refuses.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _high_byte(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """16-bit values as 8-bit; Pillow's mode for them is I;16 or, in some formats, I."""
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("32-bit pixels have no known range: save it with 8 or 16 bits")
    return (values >> 8).astype(np.uint8)
