"""Projections of feature maps to colours (PCA) and to the plane (t-SNE), reproducibly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # sklearn's

_PERCENTILES = (1, 99)
_TSNE_CHANNELS = 50  # as t-SNE's authors do: less noise in the distances, and faster
_PERPLEXITY = 30.0


@dataclass(frozen=True, slots=True)
class PrincipalColours:
    """A feature map as an image: its first three principal components as red, green and blue."""

    rgb: NDArray[np.uint8]
    """Image h×w×3."""
    variance: float
    """Fraction of the map's variance in the three components, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of some positions of a feature map in the plane."""

    points: NDArray[np.float64]
    """Points K×2."""
    rows: NDArray[np.intp]
    """Rows of the K positions in the map."""
    columns: NDArray[np.intp]


def principal_components(
    tokens: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the first principal components of tokens N×C.

    Returns the components N×k and their fractions of the variance, k values, where k is the minimum
    of `count`, N and C.  The channel with the largest weight in a component has a positive weight,
    which determines the sign.
    """
    count = min(count, *tokens.shape)
    if not np.ptp(tokens, axis=0).any():
        return np.zeros((len(tokens), count)), np.zeros(count)
    pca = PCA(count, svd_solver="covariance_eigh")  # exact, with a determined sign
    components = pca.fit_transform(tokens.astype(np.float64))
    return components, pca.explained_variance_ratio_


def principal_colours(values: NDArray[np.float32]) -> PrincipalColours:
    """Colour a map C×h×w; the percentiles 1 and 99 of each component become 0 and 255."""
    _, height, width = values.shape
    components, fractions = principal_components(_tokens(values), 3)
    low, high = np.percentile(components, _PERCENTILES, axis=0)
    span = np.where(high > low, high - low, 1)
    levels = np.zeros((len(components), 3))
    levels[:, : len(span)] = np.clip((components - low) / span, 0, 1)
    rgb = (levels * 255 + 0.5).astype(np.uint8).reshape(height, width, 3)
    return PrincipalColours(rgb, float(fractions.sum()))


def embed(values: NDArray[np.float32], limit: int, seed: int) -> Embedding:
    """Embed the positions of a map C×h×w in the plane by t-SNE; at most `limit` random ones.

    The perplexity is 30, or a third of the positions if that is less; PCA gives the initial state.
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
    if len(tokens) < 4 or not tokens.any():  # too few or identical tokens
        return np.zeros((len(tokens), 2))
    perplexity = min(_PERPLEXITY, len(tokens) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    with threadpool_limits(1):  # the order of summation must not depend on threads
        return np.asarray(tsne.fit_transform(tokens), np.float64)


def _tokens(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert a map C×h×w to tokens N×C, row by row."""
    return np.ascontiguousarray(values.reshape(len(values), -1).T)
