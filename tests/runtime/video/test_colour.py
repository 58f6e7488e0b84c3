"""Colours, against the formulas of the recommendations."""

from __future__ import annotations

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_runtime.video.colour import hdr_of, to_encoder_frame, to_rgb
from dsunet_runtime.video.hdr import Hdr

COLOURS = np.array(
    [
        *((200, 30, 40), (20, 200, 90), (40, 60, 220), (250, 250, 250)),
        *((5, 5, 5), (180, 180, 60), (255, 0, 0), (0, 255, 255)),
    ],
    np.uint8,
)
PATCH = 16
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""By the number of the matrix in ISO/IEC 23091-2."""
UNSPECIFIED, LIMITED, FULL = 2, 1, 2


def frame_of(
    colours: NDArray[np.floating], matrix: int, *, full: bool, bits: int, height: int = PATCH
) -> av.VideoFrame:
    """A frame in 4:2:0 with a patch of each colour, from R'G'B' in 0 to 1."""
    kr, kb = KR_KB[matrix]
    red, green, blue = colours.T
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    unit, top = 2 ** (bits - 8), 2**bits - 1
    if full:
        planes = luma * top, u * top + 128 * unit, v * top + 128 * unit
    else:
        planes = (16 + 219 * luma) * unit, (128 + 224 * u) * unit, (128 + 224 * v) * unit
    frame = av.VideoFrame(PATCH * len(colours), height, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        pixels = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)  # type: ignore[call-overload]
        row = np.repeat(np.round(values).clip(0, top), plane.width // len(colours))
        pixels.reshape(plane.height, -1)[:, : plane.width] = row
    frame.color_range = FULL if full else LIMITED
    return frame


def patches(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colours in the middle of the patches."""
    return image[len(image) // 2, PATCH // 2 :: PATCH].astype(int)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", KR_KB)
def test_matrices_and_ranges(matrix: int, full: bool, bits: int) -> None:
    frame = frame_of(COLOURS / 255, matrix, full=full, bits=bits)
    frame.colorspace = matrix
    assert np.abs(patches(to_rgb(frame)) - COLOURS).max() <= 1


@pytest.mark.parametrize(("height", "matrix"), [(480, 6), (576, 6), (720, 1)])
def test_matrix_of_untagged_video(height: int, matrix: int) -> None:
    frame = frame_of(COLOURS / 255, matrix, full=False, bits=8, height=height)
    frame.colorspace = UNSPECIFIED
    assert np.abs(patches(to_rgb(frame)) - COLOURS).max() <= 1


class TestForEncoder:
    @pytest.mark.parametrize("channels", [3, 4])
    def test_colours_are_bt709(self, channels: int) -> None:
        image = np.repeat(np.repeat(COLOURS[None], PATCH, 0), PATCH, 1)
        alpha = np.arange(image.shape[1], dtype=np.uint8) + np.zeros((PATCH, 1), np.uint8)
        pixels = image if channels == 3 else np.dstack([image, alpha])
        frame = to_encoder_frame(pixels, "yuv420p" if channels == 3 else "yuva420p")
        expected = frame_of(COLOURS / 255, 1, full=False, bits=8)
        for ours, theirs in zip(frame.planes, expected.planes, strict=False):
            apart = np.frombuffer(ours, np.uint8).astype(int) - np.frombuffer(theirs, np.uint8)  # type: ignore[call-overload]
            inside = apart.reshape(ours.height, -1)[:, 3 : ours.width : ours.width // 8]
            assert np.abs(inside).max() <= 1
        assert (frame.colorspace, frame.color_range) == (1, LIMITED)
        if channels == 4:
            stored = np.frombuffer(frame.planes[3], np.uint8).reshape(PATCH, -1)  # type: ignore[call-overload]
            np.testing.assert_array_equal(stored[:, : alpha.shape[1]], alpha)

    def test_masks_keep_their_levels(self) -> None:
        mask = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
        back = to_rgb(to_encoder_frame(mask, "yuv420p")).astype(int)
        assert np.abs(back - mask[..., None]).max() <= 1


class TestHdr:
    """Signals whose light ITU-R BT.2100 and BT.2408 give."""

    @pytest.mark.parametrize(
        ("transfer", "signal", "light"),
        [
            (Hdr.PQ, 0.0, 0.0),
            (Hdr.PQ, 0.508, 100.0),
            (Hdr.PQ, 0.4403, 50.0),
            (Hdr.PQ, 0.3, 10.08),
            (Hdr.HLG, 0.0, 0.0),
            (Hdr.HLG, 0.5, 50.7),  # 1/12 to the power of 1.2, times 1000 cd/m²
        ],
    )
    def test_greys(self, transfer: Hdr, signal: float, light: float) -> None:
        frame = frame_of(np.full((1, 3), signal), 9, full=False, bits=10)
        frame.colorspace = 9
        linear = light / 203
        srgb = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
        assert np.abs(patches(to_rgb(frame, transfer)) - round(255 * srgb)).max() <= 2

    @pytest.mark.parametrize(("transfer", "signal"), [(Hdr.PQ, 0.58), (Hdr.HLG, 0.75)])
    def test_reference_white_and_above(self, transfer: Hdr, signal: float) -> None:
        frame = frame_of(np.array([[signal] * 3, [1.0] * 3]), 9, full=True, bits=10)
        frame.colorspace = 9
        white, peak = patches(to_rgb(frame, transfer))
        assert 235 <= white.min() <= white.max() < 248
        assert peak.min() >= 253

    def test_colours_of_bt709(self) -> None:
        """As PQ in BT.2020, by the matrix of BT.2087, and back."""
        to_2020 = np.array(
            [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
        )
        colours = COLOURS[[0, 1, 2, 4, 5]]
        levels = colours / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        root = (203 / 10_000 * linear @ to_2020.T) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375
        frame = frame_of(signal, 9, full=False, bits=10)
        frame.colorspace = 9
        assert np.abs(patches(to_rgb(frame, Hdr.PQ)) - colours).max() <= 5

    def test_transfers(self) -> None:
        assert [hdr_of(number) for number in (1, 2, 6, 13, 14)] == [None] * 5
        assert [hdr_of(16), hdr_of(18)] == [Hdr.PQ, Hdr.HLG]
