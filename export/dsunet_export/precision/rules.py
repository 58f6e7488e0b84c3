"""What stays in float32, and why: the one place to edit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dsunet_export.errors import ExportError
from dsunet_export.names import POSTPROCESS, PREPROCESS
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import KeptInFloat32
from dsunet_runtime.message_text import printable, quote


@dataclass(frozen=True, slots=True)
class Rule:
    """Nodes that stay in float32, by a pattern of their names as `fnmatch` reads it."""

    pattern: str
    reason: str
    computes: tuple[Compute, ...] = (Compute.FP16, Compute.BF16)
    """The precisions that it is for."""


RULES = (
    Rule(
        f"{PREPROCESS}/*",
        "resampling works on whole numbers up to 2^24, and half precision holds them up to 2^11",
    ),
    Rule("Resize*", "the logits' upsampling, whose result is float32 in any case"),
    Rule(
        f"{POSTPROCESS}/*", "levels of a stretched mask are closer than numbers of half precision"
    ),
    Rule(
        "*/Softmax*",
        "TensorRT rounds exponentials and their sum where it does not fuse attention, and fuses no "
        "less with this",
    ),
    Rule(
        "*/ConvTranspose*",
        "TensorRT for RTX has no transposed convolution of bfloat16",
        (Compute.BF16,),
    ),
)
"""Nothing else (docs/LOG.md has the measurements).

In particular normalisation has no rule.  Its statistics are float32 inside the operation: ONNX says
so (`stash_type`), and the kernels that TensorRT for RTX generates do it.  Nor have the scores q kᵀ
before a softmax: in float32 they would take apart what TensorRT fuses."""


def rules_for(compute: Compute) -> list[Rule]:
    """Those of `RULES` that are for a precision."""
    return [rule for rule in RULES if compute in rule.computes]


REQUESTED = "asked for by --keep-fp32"


class Selection:
    """Names of nodes that stay in float32, and by which patterns."""

    def __init__(self, names: Iterable[str], kind: str = "node that computes with floats") -> None:
        self._names = list(names)
        self._kind = kind
        self.names: set[str] = set()
        self.entries: list[KeptInFloat32] = []

    def apply_rules(self, compute: Compute) -> None:
        """Keep what `RULES` say."""
        for rule in rules_for(compute):
            self._add(rule, [name for name in self._names if fnmatchcase(name, rule.pattern)])

    def request(self, patterns: Sequence[str]) -> None:
        """Keep what a user asks for.  Raises ExportError for a pattern that matches nothing."""
        for pattern in patterns:
            matches = [name for name in self._names if fnmatchcase(name, pattern)]
            if not matches:
                raise ExportError(
                    f"--keep-fp32 {quote(pattern)} matches no {self._kind}; {self._near(pattern)}"
                )
            self._add(Rule(pattern, REQUESTED), matches)

    def keep(self, name: str, reason: str) -> None:
        """Keep one node."""
        self._add(Rule(name, reason), [name])

    def _add(self, rule: Rule, matches: list[str]) -> None:
        new = set(matches) - self.names
        self.names |= new
        if new or (matches and rule.reason == REQUESTED):
            self.entries.append(KeptInFloat32(rule.pattern, rule.reason, len(new)))

    def _near(self, pattern: str) -> str:
        near = difflib.get_close_matches(pattern, self._names, n=3, cutoff=0.0)
        return f"names are like {', '.join(map(printable, near))}"
