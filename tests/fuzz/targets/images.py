"""Readers of images and masks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet.data.image_files import read_mask
from dsunet.errors import DSUNetError
from dsunet_runtime import RuntimeFault
from dsunet_runtime.images.decode import as_rgb
from tests.fuzz.harness import Sample, Target
from tests.fuzz.mutation import change_image

_HEIGHT, _WIDTH = 24, 30
_PIXELS = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 4), np.uint8)
_DISC = np.hypot(*(np.mgrid[:_HEIGHT, :_WIDTH] - 12)) < 8
_LARGEST_IMAGE = 3 << 30
"""Bytes: Pillow's limit is 179 million pixels of 4 bytes, of which there are two copies."""


def image(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`as_rgb` of files of every format."""
    return Target(
        "image", _content(as_rgb), _image_samples(), (RuntimeFault,), memory=_LARGEST_IMAGE
    )


def mask(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`read_mask` of every type of pixel."""
    return Target(
        "mask", _content(read_mask), _mask_samples(), (DSUNetError,), memory=_LARGEST_IMAGE
    )


def _content(read: Callable[[Path], NDArray[np.uint8]]) -> Callable[[Path], Any]:
    def content(path: Path) -> Any:
        values = read(path)
        return values.shape, values.tobytes()

    return content


def _image_samples() -> list[Sample]:
    rgba = Image.fromarray(_PIXELS)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(_PIXELS[..., 0].astype(np.uint16) * 257)
    return [
        _saved(rgb, "PNG", icc_profile=bytes(100)),
        _saved(rgba, "PNG"),
        _saved(rgb.quantize(16), "PNG", transparency=3),
        _saved(grey.convert("1"), "PNG"),
        _saved(deep, "PNG"),
        _saved(rgb, "PNG", save_all=True, append_images=[grey.convert("RGB")]),
        _saved(rgb, "JPEG", exif=turned, quality=90),
        _saved(rgb, "JPEG", progressive=True),
        _saved(rgb.convert("CMYK"), "JPEG"),
        _saved(grey, "JPEG"),
        _saved(rgb, "TIFF", compression="tiff_lzw"),
        _saved(deep, "TIFF"),
        _saved(rgba, "TIFF", compression="tiff_deflate"),
        _saved(rgb.quantize(8), "GIF", save_all=True, append_images=[grey]),
        _saved(rgba, "WEBP", lossless=True),
        _saved(rgb, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        _saved(rgb, "BMP"),
        _saved(rgb, "PPM"),
        _saved(rgb, "JPEG2000"),
        _saved(rgb, "ICO", sizes=[(16, 16)]),
    ]


def _mask_samples() -> list[Sample]:
    disc = Image.fromarray(_DISC)
    grey = disc.convert("L")
    deep = Image.fromarray(_DISC.astype(np.uint16) * 0xFFFF)
    return [
        _saved(disc, "PNG"),
        _saved(grey, "PNG"),
        _saved(grey.quantize(2), "PNG"),
        _saved(grey.convert("RGBA"), "PNG"),
        _saved(deep, "PNG"),
        _saved(grey, "JPEG"),
        _saved(grey, "TIFF"),
        _saved(disc, "TIFF", compression="group4"),
        _saved(grey, "GIF"),
        _saved(grey, "BMP"),
    ]


def _saved(image: Image.Image, format_: str, **options: Any) -> Sample:
    written = io.BytesIO()
    image.save(written, format_, **options)
    name = f"a.{format_.lower()}"
    return Sample(name, {name: written.getvalue()}, {name: change_image})
