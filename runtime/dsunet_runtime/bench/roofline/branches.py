"""Branches of the network, identified by the names of nodes, `module.path/OpType`."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dsunet_runtime.bench.roofline.layer_profile import ProfiledLayer


class Branch(enum.StrEnum):
    """Branches of the network, and the processing before and after it, in order of execution."""

    PREPROCESSING = "preprocessing"
    HIERA = "Hiera"
    DINO = "DINOv2"
    FUSION = "wavelet and fusion"
    DECODER = "decoder"
    POSTPROCESSING = "postprocessing"
    OTHER = "other"
    """Layers that cannot be assigned."""


class Assignment(NamedTuple):
    """The branch that a layer is assigned to."""

    branch: Branch
    named: bool
    """Whether its name determines the branch, and not the layer before it."""


# The outermost modules.
_BRANCHES = {
    "preprocess": Branch.PREPROCESSING,
    "hiera": Branch.HIERA,
    "dino": Branch.DINO,
    "inject": Branch.FUSION,
    "rfb": Branch.DECODER,
    "sff": Branch.DECODER,
    "unet": Branch.DECODER,
    "heads": Branch.DECODER,
    "postprocess": Branch.POSTPROCESSING,
}
# On a CPU, ONNX Runtime prefixes the names of the casts to float32 that it inserts.
_OUTERMOST = re.compile(r"(?:InsertedPrecisionFreeCast_)?([a-z]+)[./]")


def branch_of(node: str) -> Branch | None:
    """Return the branch of a node by its name; None for names that contain no module path."""
    found = _OUTERMOST.match(node)
    return _BRANCHES.get(found[1]) if found else None


def assign_branches(layers: Sequence[ProfiledLayer]) -> list[Assignment]:
    """Assign each layer, in the order of execution, to the branch of most of its nodes.

    A layer whose nodes have no branch is assigned to the branch of the layer before it; layers at
    the start are assigned to the first branch found.
    """
    known = [_most(layer.nodes) for layer in layers]
    latest = next(filter(None, known), Branch.OTHER)
    assignments = []
    for branch in known:
        latest = branch or latest
        assignments.append(Assignment(latest, branch is not None))
    return assignments


def _most(nodes: Iterable[str]) -> Branch | None:
    found = Counter(filter(None, map(branch_of, nodes)))
    return found.most_common(1)[0][0] if found else None
