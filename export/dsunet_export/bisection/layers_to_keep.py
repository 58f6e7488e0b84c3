"""Find the layers that an artifact of reduced precision should have kept in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.artifact import temporary_folder
from dsunet_export.bisection.groups import DEPTH, Group, levels_of, parts_of
from dsunet_export.bisection.search import minimize
from dsunet_export.bisection.switches import Switchboard
from dsunet_export.errors import ExportError
from dsunet_export.graph_file import load_graph
from dsunet_export.precision.narrow import DATA_TYPES
from dsunet_export.precision.reduction import infer_types
from dsunet_export.precision.rules import REQUESTED
from dsunet_export.precision.types import SELECTS, follows
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.artifact import read_manifest
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import InputForm, Manifest
from dsunet_runtime.masks import mask_from_logits
from dsunet_runtime.output_files import write_whole


@dataclass(frozen=True, slots=True)
class LayersToKeep:
    """The layers that have to stay in float32."""

    groups: tuple[Group, ...]
    before: float
    """Largest mean difference of a mask, in levels of 0 to 255, with only the layers that B keeps
    by rule in float32; infinite if logits are not finite."""
    after: float
    """Largest mean difference with `groups` in float32 too."""
    trials: int

    @property
    def patterns(self) -> list[str]:
        """Patterns for --keep-fp32."""
        return [group.pattern for group in self.groups]


def find_layers_to_keep(
    a: Path,
    b: Path,
    probes: Sequence[Probe],
    tolerance: float,
    report: Callable[[str], None],
) -> LayersToKeep:
    """Search for the smallest set of layers to keep in float32, beside those that B keeps by rule.

    `a` is the float32 artifact, `b` the same model in float16 or bfloat16; the masks of `a` are the
    reference.  Searches the encoders and the modules of the decoder first, then the blocks of those
    that matter, then the parts of those blocks.  `report` is called with a line for every trial.

    Raises ExportError if the artifacts have other precisions or if A computes values that are not
    finite.
    """
    model, kept, compute, inputs = _prepare(a, b)
    names = [
        str(node.name)
        for node in model.graph
        if follows(node, model.opset_imports[""])
        and node.op_type not in SELECTS
        and "/" in str(node.name)  # in a module
        and not any(fnmatchcase(str(node.name), pattern) for pattern in kept)
    ]
    levels = levels_of(names)
    finest = {name: group for group, members in levels[-1].items() for name in members}
    with (
        temporary_folder() as folder,
        Switchboard(model, finest, DATA_TYPES[compute], inputs, folder) as board,
    ):
        trials = _Trials(board, probes, read_manifest(a), list(levels[-1]), report)
        before = trials.difference([])
        if before <= tolerance:
            return LayersToKeep((), before, before, trials.count)
        groups = list(levels[0])
        for level in range(DEPTH):
            groups = minimize(groups, lambda some: trials.difference(some) <= tolerance)
            if level + 1 < DEPTH:
                groups = [part for one in groups for part in parts_of(one, levels[level + 1])]
        return LayersToKeep(tuple(groups), before, trials.difference(groups), trials.count)


def write_patterns(found: LayersToKeep, path: Path) -> None:
    """Write the file for `--keep-fp32 @FILE`.  Raises OutputError if it cannot be written."""
    lines = [
        f"# Found by `dsunet-export verify --bisect` in {found.trials} trials: with these layers",
        f"# in float32, masks differ by {found.after:.3g} levels on average; without, by "
        f"{found.before:.3g}.",
        *found.patterns,
    ]
    text = "\n".join(lines) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


class _Trials:
    """Measures the difference of the masks for sets of groups without rounding, each set once."""

    def __init__(
        self,
        board: Switchboard,
        probes: Sequence[Probe],
        manifest: Manifest,
        finest: Sequence[Group],
        report: Callable[[str], None],
    ) -> None:
        self._board, self._probes, self._manifest = board, probes, manifest
        self._finest, self._report = finest, report
        self._found: dict[frozenset[Group], float] = {}
        self._expected = [self._float32_mask(probe) for probe in probes]

    @property
    def count(self) -> int:
        """Number of sets that have been tried."""
        return len(self._found)

    def difference(self, groups: Sequence[Group]) -> float:
        """Return the largest mean difference of a mask, in levels of 0 to 255."""
        kept = frozenset(one for one in self._finest if any(g.holds(one) for g in groups))
        if kept not in self._found:
            worst = 0.0
            for probe, expected in zip(self._probes, self._expected, strict=True):
                mask = self._mask(probe, kept)
                if mask is None:
                    worst = math.inf
                    break
                worst = max(worst, float(np.abs(mask.astype(np.int16) - expected).mean()))
            self._found[kept] = worst
            named = ", ".join(group.path for group in groups) or "nothing"
            self._report(f"{worst:9.3g} levels with {named} in float32")
        return self._found[kept]

    def _float32_mask(self, probe: Probe) -> NDArray[np.uint8]:
        mask = self._mask(probe, self._finest)
        if mask is None:
            raise ExportError(
                f"the logits are not finite on {probe.label}, in float32: check the checkpoint and "
                "that image"
            )
        return mask

    def _mask(
        self, probe: Probe, kept: Sequence[Group] | frozenset[Group]
    ) -> NDArray[np.uint8] | None:
        """Compute a mask; None if logits are not finite."""
        outputs = self._board.run(probe, kept)
        logits = outputs["logits"][0, 0]
        if not np.isfinite(logits).all():
            return None
        if self._manifest.input_form is InputForm.FRAMES:
            mask: NDArray[np.uint8] = outputs["mask"][0]
            return mask
        return mask_from_logits(logits, probe.image.shape[:2], self._manifest.mask_form)


def check_precisions(a: Path, b: Path) -> None:
    """Raise ExportError if A is not in float32, or B not in float16 or bfloat16."""
    types = [manifest.precision.element_type for manifest in map(read_manifest, (a, b))]
    if types[0] != "float32" or types[1] not in ("float16", "bfloat16"):
        raise ExportError(
            f"{a} is {types[0]} and {b} is {types[1]}: --bisect needs the float32 artifact first "
            "and the float16 or bfloat16 one second"
        )


def _prepare(a: Path, b: Path) -> tuple[ir.Model, list[str], Compute, GraphInputs]:
    """Return A's graph, the patterns that B keeps by rule, B's precision and A's inputs."""
    check_precisions(a, b)
    first, second = read_manifest(a), read_manifest(b)
    compute = Compute.of(second.precision.compute)
    model = load_graph(a, first)
    infer_types(model)
    entries = second.precision.kept_in_float32
    kept = [entry.pattern for entry in entries if entry.reason != REQUESTED]
    return model, kept, compute, GraphInputs.of(first)
