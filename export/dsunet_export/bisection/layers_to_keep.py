"""Find the layers that an artifact of reduced precision should have kept in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dsunet_export.artifact import temporary_folder
from dsunet_export.bisection.groups import DEPTH, DEPTH_TO_MODULES, Group, group_levels, parts_of
from dsunet_export.bisection.search import minimize
from dsunet_export.bisection.switches import Switchboard, add_quantization_switches, add_switches
from dsunet_export.errors import ExportError
from dsunet_export.graph.attention import attention_of
from dsunet_export.graph.graph_file import graph_errors, load_graph
from dsunet_export.options import Attention, ExportPrecision
from dsunet_export.precision.convert_graph import infer_types
from dsunet_export.precision.convert_nodes import DATA_TYPES
from dsunet_export.precision.rules import REQUESTED
from dsunet_export.precision.types import MOVES_VALUES, has_variable_type
from dsunet_export.probes import GraphInputs, Probe, make_probes
from dsunet_export.quantization.quantized_matmuls import read_quantized_matmuls
from dsunet_export.verification.compare_artifact import (
    SMALLEST_DIVISOR,
    ReferenceCase,
    fraction_of_tolerance,
)
from dsunet_export.verification.tolerances import tolerance_for
from dsunet_export.verification.verify_artifact import compare_outputs
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.files import write_whole

_SAFE_FRACTION = 0.95
"""Fraction of the tolerance that a result may have: the export rounds a little differently."""

Levels = list[dict[Group, list[str]]]
"""Groups, with the names of their nodes, from coarse to fine."""


@dataclass(frozen=True, slots=True)
class LayersToKeep:
    """The layers that have to stay in float32."""

    groups: tuple[Group, ...]
    before: float
    """Largest difference, as a fraction of what is allowed, with only the layers in float32 that
    the search does not cover; infinite if logits are not finite."""
    after: float
    """Largest difference with `groups` in float32 too."""
    trials: int
    precision: ExportPrecision
    """Precision of B."""
    attention: Attention
    """Form of attention of B, which the search does not change."""
    given: tuple[str, ...] = ()
    """Patterns that B was exported with and that the result still needs."""

    @property
    def export_options(self) -> str:
        """The options of `dsunet-export onnx` for B, without --keep-fp32."""
        attention = "" if self.attention is Attention.FUSED else f" --attention {self.attention}"
        return f"--precision {self.precision}{attention}"

    @property
    def patterns(self) -> list[str]:
        """Patterns for --keep-fp32."""
        return [*self.given, *(group.pattern for group in self.groups)]


def find_layers_to_keep(
    a: Path,
    b: Path,
    probes: Sequence[Probe],
    tolerance: float,
    report: Callable[[str], None],
) -> LayersToKeep:
    """Search for the smallest set of layers to keep in float32, beside those kept by rule.

    `a` is the float32 artifact, which is the reference, and `b` the same model in another
    precision.  A set is sufficient if every mask differs by at most `tolerance` levels on average,
    and if `dsunet-export onnx` would accept the result, on `probes` and on its own images.

    Searches the encoders and the modules of the decoder first, then the blocks of those that
    matter, then the parts of those blocks, and in 8 bits their matmuls.  Layers that B keeps on
    request are searched too; not in 8 bits, because B has no range for them.  `report` is called
    with a line for every trial.

    Raises ExportError if the artifacts have other precisions, if A computes values that are not
    finite, or if no set is sufficient.
    """
    check_precisions(a, b)
    manifest = replace(read_manifest(a), precision=read_manifest(b).precision)
    with graph_errors(a, b):
        prepare = _quantized if manifest.precision.quantized else _narrowed
        model, levels = prepare(a, b, manifest)
    with (
        temporary_folder() as folder,
        Switchboard(model, levels[-1], GraphInputs.of(manifest), folder) as board,
    ):
        trials = _Trials(board, probes, tolerance, manifest, report)
        before = trials.excess([])
        groups = [] if before <= 1 else list(levels[0])
        if groups and not trials.suffices(groups):
            raise ExportError(
                f"the masks differ by more than {tolerance:g} levels even with all layers in "
                "float32: raise --tolerance"
            )
        for level in levels:
            parts = [part for one in groups for part in parts_of(one, level)]
            groups = minimize(parts, trials.suffices)
        return LayersToKeep(
            groups=tuple(groups),
            before=before,
            after=trials.excess(groups),
            trials=trials.count,
            precision=ExportPrecision.of(manifest.precision),
            attention=attention_of(read_manifest(b)),
            given=tuple(_requested(manifest)) if manifest.precision.quantized else (),
        )


def write_patterns(found: LayersToKeep, path: Path) -> None:
    """Write the file for `--keep-fp32 @FILE`.  Raises OutputError if it cannot be written."""
    lines = [
        f"# Found by `dsunet-export verify --bisect` in {found.trials} trials: with these layers",
        f"# in float32, the largest difference is {found.after:.3g} of the tolerance; without, "
        f"{found.before:.3g}.",
        f"# Export with {found.export_options}.",
        *found.patterns,
    ]
    text = "\n".join(lines) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


class _Trials:
    """Measures the differences for sets of groups in float32, each set once."""

    def __init__(
        self,
        board: Switchboard,
        probes: Sequence[Probe],
        tolerance: float,
        manifest: Manifest,
        report: Callable[[str], None],
    ) -> None:
        self._board, self._tolerance, self._report = board, tolerance, report
        self._manifest = manifest
        self._labels = {probe.label for probe in probes}
        exporters = make_probes(GraphInputs.of(manifest).size)
        others = [probe for probe in exporters if probe.label not in self._labels]
        self._cases = [self._case(probe) for probe in (*probes, *others)]
        self._found: dict[frozenset[Group], float] = {}

    @property
    def count(self) -> int:
        """Number of sets that have been tried."""
        return len(self._found)

    def suffices(self, groups: Sequence[Group]) -> bool:
        """Whether some groups in float32 are enough, up to the first image that shows otherwise."""
        return self.excess(groups, limit=_SAFE_FRACTION) <= _SAFE_FRACTION

    def excess(self, groups: Sequence[Group], limit: float = math.inf) -> float:
        """Return the largest difference with some groups in float32; above 1 is not allowed.

        An image above `limit` ends the trial, and the largest difference may then be larger.
        """
        kept = frozenset(one for one in self._board.groups if any(g.contains(one) for g in groups))
        if kept not in self._found:
            self._found[kept] = self._largest(kept, limit)
            named = ", ".join(group.path for group in groups) or "nothing"
            least = "at least " if limit < self._found[kept] else ""
            self._report(f"{least}{self._found[kept]:.3g} of the tolerance with {named} in float32")
        return self._found[kept]

    def _largest(self, kept: Collection[Group], limit: float) -> float:
        largest = 0.0
        for index, case in enumerate(self._cases):
            largest = max(largest, self._excess(case, kept))
            if largest > limit:
                # The next set that is too small most likely fails on the same image.
                self._cases.insert(0, self._cases.pop(index))
                break
        return largest

    def _excess(self, case: ReferenceCase, kept: Collection[Group]) -> float:
        output = self._board.run(case.probe, kept)
        if not np.isfinite(output["logits"]).all():
            return math.inf
        results = [*compare_outputs(case, output, self._manifest)]
        worst = max(fraction_of_tolerance(result, case.tolerance.iou) for result in results)
        if case.probe.label not in self._labels:
            return worst
        return max(worst, results[-1].mean_abs_error / max(self._tolerance, SMALLEST_DIVISOR))

    def _case(self, probe: Probe) -> ReferenceCase:
        logits = self._board.run(probe, self._board.groups)["logits"][0, 0]
        if not np.isfinite(logits).all():
            raise ExportError(
                f"the logits are not finite on {probe.label}, in float32: check the checkpoint and "
                "that image"
            )
        tolerance = tolerance_for(self._manifest, is_noise=probe.is_noise)
        return ReferenceCase(probe, logits, "the float32 graph", tolerance)


def check_precisions(a: Path, b: Path) -> None:
    """Raise ExportError if A is not in float32, or B is."""
    types = [manifest.precision.element_type for manifest in map(read_manifest, (a, b))]
    if types[0] != "float32" or types[1] == "float32":
        raise ExportError(
            f"{a} is {types[0]} and {b} is {types[1]}: --bisect needs the float32 artifact first "
            "and one of another precision second"
        )


def _requested(manifest: Manifest) -> list[str]:
    """Return the patterns of --keep-fp32."""
    return [k.pattern for k in manifest.precision.kept_in_float32 if k.reason == REQUESTED]


def _narrowed(a: Path, b: Path, manifest: Manifest) -> tuple[ir.Model, Levels]:
    """Load A's graph, with a switch for the rounding to 16 bits of each group."""
    model = load_graph(a, read_manifest(a))
    infer_types(model)
    entries = manifest.precision.kept_in_float32
    kept = [entry.pattern for entry in entries if entry.reason != REQUESTED]
    levels = group_levels(
        (
            str(node.name)
            for node in model.graph
            if has_variable_type(node, model.opset_imports[""])
            and node.op_type not in MOVES_VALUES
            and "/" in str(node.name)  # in a module
            and not any(fnmatchcase(str(node.name), pattern) for pattern in kept)
        ),
        DEPTH,
    )
    add_switches(model, _finest(levels), DATA_TYPES[Compute.of(manifest.precision.compute)])
    return model, levels


def _quantized(a: Path, b: Path, manifest: Manifest) -> tuple[ir.Model, Levels]:
    """Load A's graph, with a switch for the quantisation of each group as in B."""
    model, other = load_graph(a, read_manifest(a)), load_graph(b, read_manifest(b))
    matmuls = read_quantized_matmuls(other.graph)
    model.opset_imports[""] = max(model.opset_imports[""], other.opset_imports[""])
    if not matmuls.keys() <= {node.name for node in model.graph}:
        raise ExportError(
            f"{b} has matrix multiplications that {a} does not have: export both from one model, "
            "both with or both without --plain"
        )
    levels = group_levels(matmuls, DEPTH_TO_MODULES)
    add_quantization_switches(model, _finest(levels), matmuls)
    return model, levels


def _finest(levels: Levels) -> dict[str, Group]:
    return {name: group for group, members in levels[-1].items() for name in members}
