"""The network's branches, read off the names of nodes: `module.path/OpType`."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dsunet_runtime.bench.roofline.layer_profile import ProfiledLayer


class Branch(enum.StrEnum):
    """A part of the network, or of what surrounds it, in the order in which it is computed."""

    PREPROCESSING = "preprocessing"
    HIERA = "Hiera"
    DINO = "DINOv2"
    FUSION = "wavelet and fusion"
    DECODER = "decoder"
    POSTPROCESSING = "postprocessing"
    OTHER = "other"
    """What no name says."""


class Place(NamedTuple):
    """Where a layer belongs."""

    branch: Branch
    named: bool
    """Whether a name says so, and not only what was executed before it."""


# The outermost modules.
_BRANCHES = {
    "preprocess": Branch.PREPROCESSING,
    "hiera": Branch.HIERA,
    "dino": Branch.DINO,
    "inject": Branch.FUSION,
    "rfb": Branch.DECODER,
    "sff": Branch.DECODER,
    "heads": Branch.DECODER,
    "postprocess": Branch.POSTPROCESSING,
}
# ONNX Runtime names what it casts to float32 on a CPU after the node whose result it is.
_OUTERMOST = re.compile(r"(?:InsertedPrecisionFreeCast_)?([a-z]+)[./]")


def branch_of(node: str) -> Branch | None:
    """The branch that a node's name says; None where ONNX Runtime or the exporter made one up."""
    found = _OUTERMOST.match(node)
    return _BRANCHES.get(found[1]) if found else None


def places_of(layers: Sequence[ProfiledLayer]) -> list[Place]:
    """For each layer, in the order of execution, the branch of most of its nodes.

    A layer without a branch belongs to that of the layer before it, whose result it mostly reads;
    the first ones to that of the first layer with one.
    """
    known = [_most(layer.nodes) for layer in layers]
    latest = next(filter(None, known), Branch.OTHER)
    places = []
    for branch in known:
        latest = branch or latest
        places.append(Place(latest, branch is not None))
    return places


def _most(nodes: Iterable[str]) -> Branch | None:
    found = Counter(filter(None, map(branch_of, nodes)))
    return found.most_common(1)[0][0] if found else None
