"""Random fields: noise of a given spectrum, and cells around random points."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.fields import Field, Shape, resized_field, side_of

_BLOCK = 32  # a Fourier transform of a round size is quick


def cloud(shape: Shape, rng: np.random.Generator, slope: float, lowest: float = 1.0) -> Field:
    """Noise whose amplitude falls with frequency to the power -slope; mean 0, deviation 1.

    `lowest` is the frequency, in cycles per side, below which it falls no more.
    """
    radius = _radius(shape, 0.0, 1.0)
    return _coloured(shape, rng, np.maximum(radius, np.float32(lowest)) ** np.float32(-slope))


def drift(shape: Shape, rng: np.random.Generator, slope: float) -> Field:
    """A cloud without its fine scales, which is faster."""
    return resized_field(cloud((max(8, shape[0] // 4), max(8, shape[1] // 4)), rng, slope), shape)


def band(
    shape: Shape,
    rng: np.random.Generator,
    frequency: float,
    width: float = 0.35,
    angle: float = 0.0,
    stretch: float = 1.0,
) -> Field:
    """Noise around one frequency, in cycles per side; mean 0, deviation 1.

    `width` is the deviation of the frequency's logarithm.  With `stretch` above 1 it is fibrous,
    along `angle`.
    """
    radius = np.maximum(_radius(shape, angle, stretch), np.float32(1e-3))
    octaves = np.log(radius / np.float32(frequency)) / np.float32(width)
    return _coloured(shape, rng, np.exp(-0.5 * octaves**2))


def cells(
    shape: Shape, rng: np.random.Generator, frequency: float, angle: float, stretch: float
) -> tuple[Field, Field, Field]:
    """Cells around jittered points, `frequency` to a side.

    For each pixel the distance to the nearest point, the distance to the second one, both in
    cells, and a random value of 0 to 1 that is the cell's own.
    """
    # Half the resolution: distances are smooth.
    half = (-(-shape[0] // 2), -(-shape[1] // 2))
    y, x = np.mgrid[: half[0], : half[1]].astype(np.float32)
    scale = np.float32(frequency / side_of(half))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (x * cos + y * sin) * scale, (y * cos - x * sin) * scale * np.float32(stretch)
    u, v = u - u.min(), v - v.min()
    column, row = u.astype(np.int32), v.astype(np.int32)
    grid = (int(row.max()) + 3, int(column.max()) + 3)
    point = rng.random((2, *grid), dtype=np.float32)
    own = rng.random(grid, dtype=np.float32)
    first = np.full(half, 9, np.float32)
    second = np.full(half, 9, np.float32)
    value = np.zeros(half, np.float32)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            at = (row + (down + 1), column + (across + 1))
            to_x = column + across + point[0][at] - u
            to_y = row + down + point[1][at] - v
            distance = to_x * to_x + to_y * to_y
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            value = np.where(nearer, own[at], value)
            first = np.where(nearer, distance, first)
    return (
        resized_field(np.sqrt(first), shape),
        resized_field(np.sqrt(second), shape),
        resized_field(value, shape),
    )


def _radius(shape: Shape, angle: float, stretch: float) -> Field:
    """The frequency of each Fourier coefficient, in cycles per side."""
    height, width = _rounded(shape)
    side = np.float32(side_of(shape))
    fy = np.fft.fftfreq(height).astype(np.float32)[:, None] * side
    fx = np.fft.rfftfreq(width).astype(np.float32)[None, :] * side
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = fx * cos + fy * sin, fy * cos - fx * sin
    return np.asarray(np.hypot(along * np.float32(stretch), across), np.float32)


def _coloured(shape: Shape, rng: np.random.Generator, gain: Field) -> Field:
    white = rng.standard_normal(_rounded(shape), dtype=np.float32)
    spectrum = np.fft.rfft2(white) * gain
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=_rounded(shape))[: shape[0], : shape[1]]
    field = field.astype(np.float32)
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def _rounded(shape: Shape) -> Shape:
    return -(-shape[0] // _BLOCK) * _BLOCK, -(-shape[1] // _BLOCK) * _BLOCK
