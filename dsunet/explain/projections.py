"""Maps of many channels in three colours (PCA) and in the plane (t-SNE).  The same every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsunet.errors import MissingExtraError

try:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # sklearn's
except ModuleNotFoundError as error:
    raise MissingExtraError("scikit-learn is not installed: pip install 'dsunet[train]'") from error

_PERCENTILES = (1, 99)
_TSNE_CHANNELS = 50  # as t-SNE's authors do: less noise in the distances, and faster
_PERPLEXITY = 30.0


@dataclass(frozen=True, slots=True)
class Colours:
    """A map as an image: its first three principal components in red, green and blue."""

    rgb: NDArray[np.uint8]
    """h×w×3."""
    variance: float
    """The share of the map's variance that they hold, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Some positions of a map, in the plane."""

    points: NDArray[np.float64]
    """K×2."""
    rows: NDArray[np.intp]
    """K, the positions' rows in the map."""
    columns: NDArray[np.intp]


def principal_components(
    tokens: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first principal components of N tokens, N×C, and each one's share of the variance.

    N×k and k, where k is `count` or, if smaller, N or C.  The channel that weighs most in a
    component weighs positively, which fixes the sign.
    """
    count = min(count, *tokens.shape)
    if not np.ptp(tokens, axis=0).any():
        return np.zeros((len(tokens), count)), np.zeros(count)
    pca = PCA(count, svd_solver="covariance_eigh")  # exact, and it fixes the sign as promised
    components = pca.fit_transform(tokens.astype(np.float64))
    return components, pca.explained_variance_ratio_


def principal_colours(values: NDArray[np.float32]) -> Colours:
    """A map C×h×w in colours; of each component the middle 98 % span 0 to 255."""
    _, height, width = values.shape
    components, shares = principal_components(_tokens(values), 3)
    low, high = np.percentile(components, _PERCENTILES, axis=0)
    span = np.where(high > low, high - low, 1)
    levels = np.zeros((len(components), 3))
    levels[:, : len(span)] = np.clip((components - low) / span, 0, 1)
    rgb = (levels * 255 + 0.5).astype(np.uint8).reshape(height, width, 3)
    return Colours(rgb, float(shares.sum()))


def embed(values: NDArray[np.float32], limit: int, seed: int) -> Embedding:
    """The positions of a map C×h×w in the plane, by t-SNE; of more than `limit` a random choice.

    Perplexity 30, or a third of the positions if that is less; started from PCA.
    """
    width = values.shape[2]
    tokens = _tokens(values)
    generator = np.random.default_rng(seed)
    chosen = np.arange(len(tokens))
    if len(chosen) > limit:
        chosen = np.sort(generator.choice(chosen, limit, replace=False))
    reduced, _ = principal_components(tokens[chosen], _TSNE_CHANNELS)
    return Embedding(_tsne(reduced, seed), chosen // width, chosen % width)


def _tsne(tokens: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if len(tokens) < 4 or not tokens.any():  # nothing to tell apart
        return np.zeros((len(tokens), 2))
    perplexity = min(_PERPLEXITY, len(tokens) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    with threadpool_limits(1):  # threads would sum forces in any order
        return np.asarray(tsne.fit_transform(tokens), np.float64)


def _tokens(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """C×h×w to N×C, row by row."""
    return np.ascontiguousarray(values.reshape(len(values), -1).T)
