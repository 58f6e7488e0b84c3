"""The rules by which nodes stay in float32.  Add rules here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dsunet_export.errors import ExportError
from dsunet_export.graph.names import POSTPROCESS, PREPROCESS
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import KeptInFloat32
from dsunet_runtime.message_text import printable, quote


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern (`fnmatch`) of names of nodes that stay in float32."""

    pattern: str
    reason: str
    computes: tuple[Compute, ...] = (Compute.FP16, Compute.BF16)
    """The precisions to which the rule applies."""


RULES = (
    Rule(
        f"{PREPROCESS}/*",
        "resampling computes with integers up to 2^24, float16 represents them up to 2^11",
    ),
    Rule("Resize*", "the upsampling of the logits, whose output is float32 in any case"),
    Rule(
        f"{POSTPROCESS}/*",
        "the levels of a mask are finer than bfloat16, and stretched ones than float16",
    ),
    Rule(
        "*/Softmax*",
        "where TensorRT does not fuse attention it rounds exponentials and their sum; fusion does "
        "not depend on this",
    ),
    Rule(
        "*/ConvTranspose*",
        "TensorRT for RTX does not support bfloat16 transposed convolutions",
        (Compute.BF16,),
    ),
)
"""All rules (measurements in docs/LOG.md).

Normalisation needs none: its statistics are computed in float32 inside the operation, as ONNX
defines (`stash_type`) and the kernels of TensorRT for RTX do.  Attention scores q kᵀ have none
either: in float32 they would prevent TensorRT from fusing attention."""


def rules_for(compute: Compute) -> list[Rule]:
    """Return the rules that apply to a precision."""
    return [rule for rule in RULES if compute in rule.computes]


REQUESTED = "requested with --keep-fp32"
"""Manifests hold this text, and `verify --bisect` looks for it there: do not change it."""


class KeptNodes:
    """The nodes that stay in float32, with the patterns that select them."""

    def __init__(
        self, names: Iterable[str], noun: str = "node that computes in floating point"
    ) -> None:
        self._names = list(names)
        self._noun = noun
        self.names: set[str] = set()
        self.entries: list[KeptInFloat32] = []

    def apply_rules(self, compute: Compute) -> None:
        """Keep the nodes that the rules for a precision select."""
        for rule in rules_for(compute):
            self._add(rule, [name for name in self._names if fnmatchcase(name, rule.pattern)])

    def request(self, patterns: Sequence[str]) -> None:
        """Keep what a user requests.  Raises ExportError for a pattern that matches nothing."""
        for pattern in patterns:
            matches = [name for name in self._names if fnmatchcase(name, pattern)]
            if not matches:
                raise ExportError(
                    f"--keep-fp32 {quote(pattern)} matches no {self._noun}; {self._near(pattern)}"
                )
            self._add(Rule(pattern, REQUESTED), matches)

    def keep(self, name: str, reason: str) -> None:
        """Keep one node, for a reason."""
        self._add(Rule(name, reason), [name])

    def _add(self, rule: Rule, matches: list[str]) -> None:
        new = set(matches) - self.names
        self.names |= new
        if new or (matches and rule.reason == REQUESTED):
            self.entries.append(KeptInFloat32(rule.pattern, rule.reason, len(new)))

    def _near(self, pattern: str) -> str:
        near = difflib.get_close_matches(pattern, self._names, n=3, cutoff=0.0)
        return f"similar names: {', '.join(map(printable, near))}"
