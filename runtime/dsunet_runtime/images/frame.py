"""`Frame`: an image in memory, in the pixel formats of cameras, decoders and other libraries."""

from __future__ import annotations

import operator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.choices import one_of
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.pixels import PixelFormat, YuvEncoding, nv12_to_rgb, packed_to_rgb
from dsunet_runtime.message_text import quote, reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Region = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An image in memory, in a pixel format, for `Segmenter`.

        Frame(bgr, "bgr")                                       # OpenCV
        Frame.from_nv12(frame.to_ndarray(format="nv12"))        # PyAV
        Frame.from_buffer(data, 1280, 720, "nv12", stride=1280)

    The memory is not copied: it must stay as it is until the mask has been computed, or `prepare`
    and `infer` have returned.  A frame has no orientation; it is taken as upright.

    Args:
        data: uint8 array, also a view with strides: H×W×3 or H×W×4, or the plane Y of `nv12`, H×W.
        format: The pixel format: `rgb`, `bgr`, `rgba`, `bgra` or `nv12`.  Alpha is dropped
            without compositing.
        chroma: The plane UV of `nv12`, also a view, with one pair, U first, for each 2×2 pixels:
            ceil(H/2)×(2 ceil(W/2)) or ceil(H/2)×ceil(W/2)×2.
        encoding: Matrix and range of `nv12`: `bt601-limited`, `bt601-full`, `bt709-limited` or
            `bt709-full`.  Other formats do not use it.
        region: The part of the frame to use, by default all of it: x, y, width and height in
            pixels, as OpenCV's rectangles.  Offsets may be odd, also in `nv12`.  The mask has the
            size of the region.

    Raises:
        ImageError: Format or encoding are unknown, an array has another shape or type, or the
            region is not inside the frame.
    """

    data: NDArray[np.uint8]
    format: PixelFormat | str = PixelFormat.RGB
    _: KW_ONLY
    chroma: NDArray[np.uint8] | None = None
    encoding: YuvEncoding | str = YuvEncoding.BT601_LIMITED
    region: Region | None = None

    def __post_init__(self) -> None:
        one_of(YuvEncoding, "encoding", self.encoding, ImageError)
        format_ = _known_format(self.format)
        if format_ is PixelFormat.NV12:
            _check_planes(self.data, self.chroma)
        else:
            _check_packed(self.data, format_)
            _check_without_chroma(format_, self.chroma)
        self._checked_region()

    @classmethod
    def from_nv12(
        cls,
        planes: NDArray[np.uint8],
        *,
        encoding: YuvEncoding | str = YuvEncoding.BT601_LIMITED,
        region: Region | None = None,
    ) -> Self:
        """Create a frame from one array with both planes of NV12, as in PyAV and OpenCV.

            frame = Frame.from_nv12(video_frame.to_ndarray(format="nv12"))

        Args:
            planes: uint8 array (H + ceil(H/2))×W: the rows of Y, then those of U and V.  W is even.
            encoding: As in `Frame`.
            region: As in `Frame`.  Where a decoder pads width or height, it is the visible part.

        Raises:
            ImageError: The array has another shape or type, or as in `Frame`.
        """
        _check_levels(planes)
        if planes.ndim != 2 or len(planes) % 3 == 1 or planes.shape[1] % 2:
            raise ImageError(
                f"an array of shape {planes.shape} does not have both planes of nv12: use shape "
                f"(H + ceil(H/2))×W with an even W, or Frame.from_buffer"
            )
        height = len(planes) * 2 // 3
        return cls(
            planes[:height],
            PixelFormat.NV12,
            chroma=planes[height:],
            encoding=encoding,
            region=region,
        )

    @classmethod
    def from_buffer(
        cls,
        buffer: ReadableBuffer,
        width: int,
        height: int,
        format: PixelFormat | str,  # noqa: A002 - as the attribute
        *,
        stride: int | None = None,
        offset: int = 0,
        chroma_stride: int | None = None,
        chroma_offset: int | None = None,
        encoding: YuvEncoding | str = YuvEncoding.BT601_LIMITED,
        region: Region | None = None,
    ) -> Self:
        """Create a frame from bytes in memory, as in GStreamer and V4L2.

            frame = Frame.from_buffer(mapped, 1280, 720, "nv12", stride=1536)

        Args:
            buffer: bytes, memoryview, mmap, or another object with contiguous bytes.
            width: Width in pixels, without padding.
            height: Height in pixels, without padding.
            format: As in `Frame`.
            stride: Bytes from one row to the next (default: no padding).
            offset: Index of the first byte of the frame.
            chroma_stride: For `nv12`: bytes from one row of U and V to the next (default: `stride`;
                of a frame without padding whose width is odd, one more).
            chroma_offset: For `nv12`: index of the first byte of U and V (default: after `height`
                rows of Y).  GStreamer and decoders may pad the height.
            encoding: As in `Frame`.
            region: As in `Frame`.

        Raises:
            ImageError: The buffer has too few bytes, a number is out of range, or as in `Frame`.
        """
        view = _bytes_of(buffer)
        format_ = _known_format(format)
        width, height = _integer("width", width, 1), _integer("height", height, 1)
        if format_ is not PixelFormat.NV12:
            _check_without_chroma(format_, chroma_stride, chroma_offset)
            channels = len(format_)
            rows = _rows(view, height, width * channels, stride, offset)
            pixels = rows.reshape(height, width, channels)
            return cls(pixels, format_, encoding=encoding, region=region)
        luma = _rows(view, height, width, stride, offset)
        luma_stride, chroma_row = luma.strides[0], 2 * _half(width)
        chroma = _rows(
            view,
            _half(height),
            chroma_row,
            max(luma_stride, chroma_row) if chroma_stride is None else chroma_stride,
            offset + height * luma_stride if chroma_offset is None else chroma_offset,
        )
        return cls(luma, format_, chroma=chroma, encoding=encoding, region=region)

    def to_rgb(self) -> NDArray[np.uint8]:
        """Return the region as a contiguous array H×W×3, uint8, RGB, 0 to 255.

        It shares the frame's memory if that is contiguous RGB, and is a copy otherwise.
        """
        x, y, width, height = self._checked_region()
        data = self.data[y : y + height, x : x + width]
        if self.chroma is None:
            return packed_to_rgb(data, PixelFormat(self.format))
        pairs = self.chroma.reshape(len(self.chroma), -1, 2)  # splits an axis: never a copy
        pairs = pairs[y // 2 : _half(y + height), x // 2 : _half(x + width)]
        return nv12_to_rgb(data, pairs, (y % 2, x % 2), YuvEncoding(self.encoding))

    def _checked_region(self) -> Region:
        """Return the region, by default the whole frame.  Raises ImageError if it is not valid."""
        height, width = self.data.shape[:2]
        if self.region is None:
            return 0, 0, width, height
        try:
            x, y, across, down = map(operator.index, self.region)
        except (TypeError, ValueError) as error:
            raise ImageError(
                f"the region {quote(self.region)} is not four integers: use (x, y, width, height) "
                f"in pixels"
            ) from error
        if min(x, y) < 0 or min(across, down) < 1 or x + across > width or y + down > height:
            raise ImageError(
                f"the region x={x}, y={y}, width={across}, height={down} is not inside the frame "
                f"of {width}×{height} (width×height): clip it to the frame"
            )
        return x, y, across, down


def _known_format(value: PixelFormat | str) -> PixelFormat:
    return one_of(PixelFormat, "pixel format", value, ImageError)


def _check_packed(pixels: NDArray[np.uint8], format_: PixelFormat) -> None:
    _check_levels(pixels)
    channels = len(format_)
    if pixels.ndim != 3 or pixels.shape[2] != channels:
        raise ImageError(
            f"an array of shape {pixels.shape} is not an image in {format_}: use shape "
            f"H×W×{channels}, or dsunet_runtime.Frame with the array's pixel format"
        )


def _check_planes(luma: NDArray[np.uint8], chroma: NDArray[np.uint8] | None) -> None:
    _check_levels(luma)
    if chroma is None:
        raise ImageError(
            "nv12 without chroma: give the plane UV as `chroma`, or use Frame.from_nv12 for an "
            "array of both planes"
        )
    _check_levels(chroma)
    if luma.ndim != 2:
        raise ImageError(f"an array of shape {luma.shape} is not the plane Y of nv12: use H×W")
    rows, columns = map(_half, luma.shape)
    if chroma.shape not in ((rows, 2 * columns), (rows, columns, 2)):
        raise ImageError(
            f"an array of shape {chroma.shape} is not the plane UV of a frame of "
            f"{luma.shape[1]}×{luma.shape[0]} (width×height): use shape {rows}×{2 * columns} or "
            f"{rows}×{columns}×2"
        )


def _check_levels(array: NDArray[np.uint8]) -> None:
    if not isinstance(array, np.ndarray):
        raise ImageError(
            f"a frame is an array, not {type(array).__name__}: use a uint8 array, or "
            f"Frame.from_buffer for bytes in memory"
        )
    if array.dtype != np.uint8:
        raise ImageError(
            f"an array of {array.dtype} has no known range: use uint8 values from 0 to 255"
        )
    if array.size == 0:
        raise ImageError(
            f"an array of shape {array.shape} is empty: it must have at least one pixel"
        )


def _check_without_chroma(format_: PixelFormat, *chroma: object) -> None:
    if any(value is not None for value in chroma):
        raise ImageError(f"{format_} has no chroma: omit it, or use the format nv12")


def _bytes_of(buffer: ReadableBuffer) -> memoryview:
    try:
        view = memoryview(buffer)
    except (TypeError, ValueError, BufferError) as error:  # another type, or a closed file
        raise ImageError(
            f"the buffer cannot be read: {reason(error)}: use bytes, a memoryview or an open mmap"
        ) from error
    if view.itemsize != 1 or not view.c_contiguous:
        raise ImageError("the buffer is not contiguous bytes: use Frame(array, format) for arrays")
    return view


def _rows(
    view: memoryview, count: int, size: int, stride: int | None, offset: int
) -> NDArray[np.uint8]:
    """Return a view of `count` rows of `size` bytes."""
    stride = size if stride is None else _integer("stride in bytes", stride, size)
    offset = _integer("offset in bytes", offset, 0)
    end = offset + (count - 1) * stride + size
    if end > view.nbytes:
        raise ImageError(
            f"the buffer has {view.nbytes:,} bytes, and {count:,} rows of {size:,} bytes with a "
            f"stride of {stride:,} from byte {offset:,} end at {end:,}: use the frame's own width, "
            f"height, stride and offset"
        )
    return np.ndarray((count, size), np.uint8, view, offset, (stride, 1))


def _integer(name: str, value: Any, lowest: int) -> int:
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ImageError(f"the {name} is {quote(value)}: use an integer") from error
    if number < lowest:
        raise ImageError(f"the {name} is {number}: use at least {lowest}")
    return number


def _half(number: int) -> int:
    """Half of a number of pixels, rounded up."""
    return (number + 1) // 2
