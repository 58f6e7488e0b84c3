"""`Result`: an image with its mask, and renderings of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.images.decode import ImageLike, as_rgb
from dsunet_runtime.masks import renderings
from dsunet_runtime.masks.backdrops import ColourBackdrop, ImageBackdrop, parse_backdrop
from dsunet_runtime.masks.mask_from_logits import MASK_THRESHOLD
from dsunet_runtime.message_text import quote
from dsunet_runtime.prediction.output_files import write_mask

_OTSU = "otsu"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """An image with its mask, from `Segmenter.predict`.

        result = segmenter.predict("photo.jpg")
        result.save("mask.png")
        result.cutout().save("cutout.webp")
        result.background("white").save("white.jpg")

    Attributes:
        image: The upright image, uint8, H×W×3, RGB, 0 to 255.
        mask: uint8, H×W, 0 (outside) to 255 (inside).
        icc_profile: ICC profile of the image's values, from its file; None for sRGB.  The Pillow
            images have it as `info["icc_profile"]`, which `save` writes to PNG files; for other
            formats, use `save(…, icc_profile=result.icc_profile)`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    icc_profile: bytes | None = None

    def binary(self, threshold: int | str = MASK_THRESHOLD) -> Image.Image:
        """Return a grey image that is 255 where the mask is at or above a threshold, else 0.

        Args:
            threshold: 1 to 255, or `otsu` for Otsu's threshold of this mask.

        Raises:
            ImageError: The threshold is neither of these.
        """
        if threshold != _OTSU and not (isinstance(threshold, int) and 1 <= threshold <= 255):
            raise ImageError(f"the threshold {quote(threshold)} is neither 1 to 255 nor {_OTSU}")
        return self._drawn(renderings.Binary(threshold if isinstance(threshold, int) else None))

    def cutout(self) -> Image.Image:
        """Return the object as an RGBA image: its own colours, and an alpha from the mask.

        The alpha is 0 up to level 13 of the mask (5 %), 255 from level 242, and linear between.
        At soft edges, PyMatting removes the colours of the old background.  Away from the object,
        transparent pixels are black.

        Raises MissingExtraError if PyMatting is not installed.
        """
        return self._drawn(renderings.Cutout())

    def background(
        self, background: str | os.PathLike[str] | tuple[int, int, int] | ImageLike
    ) -> Image.Image:
        """Return the object over another background, as an RGB image.

        Args:
            background: Text as for `dsunet-run predict --background`: `blur`, a colour (`white`,
                `#rrggbb`) or the path of an image; red, green and blue, 0 to 255; or an image as
                for `Segmenter`, which is scaled and cropped to fill this one.

        Raises:
            ImageError: The background is none of these, or cannot be read.
            MissingExtraError: PyMatting is not installed.
        """
        match background:
            case str():
                behind = parse_backdrop(background)
            case (int(), int(), int()) as colour:
                if not all(0 <= level <= 255 for level in colour):
                    raise ImageError(f"the levels of the colour {colour} are not from 0 to 255")
                behind = ColourBackdrop(colour)
            case _:
                behind = ImageBackdrop(as_rgb(background))
        return self._drawn(renderings.Background(behind))

    def overlay(self) -> Image.Image:
        """Return the image, tinted where the mask is bright, with a contour at 128."""
        return self._drawn(renderings.Overlay())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as an 8-bit grey PNG file, completely or not at all.

        Raises OutputError if that fails, or if the name does not end in `.png`.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise OutputError(f"{path}: masks are PNG files: name {path.with_suffix('.png')}")
        write_mask(self.mask, path)

    def _drawn(self, rendering: renderings.Rendering) -> Image.Image:
        drawn = Image.fromarray(rendering(self.image, self.mask))
        if self.icc_profile is not None and rendering.channels > 1:
            drawn.info["icc_profile"] = self.icc_profile
        return drawn
