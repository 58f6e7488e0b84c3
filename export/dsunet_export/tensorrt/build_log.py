"""TensorRT's log: prints it on request, and collects errors and memory use."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TextIO

from dsunet_runtime.backends.tensorrt.log import ERRORS
from dsunet_runtime.message_text import clean, printable

_DETAILS = "VERBOSE"
_ACTIVATIONS = re.compile(r"Total Activation Memory: (\d+)(?: bytes)?$")
_WEIGHTS = re.compile(r"Total Weights Memory: (\d+)(?: bytes)?$")

# `[pass.cpp:337: check] ` and ` In compile at /_src/a/b.cpp:12)` say where in TensorRT's source.
_SOURCE = re.compile(r"\[[^\]\s]+: \w+\] |\s*In \w+ at /\S+$|^.*?Error Code \d+: \w[\w ]* ?\(")

_LONGEST = 300
"""Characters of an error that are printed; the compiler prints whole subgraphs."""

_REMEDIES = {
    r"Could not infer output types": "TensorRT does not support it in that type: keep it in "
    "float32 with `dsunet-export onnx --keep-fp32 NODE`",
    r"Turing \(SM75\): FP32 GEMM": "TensorRT for RTX has no float32 matrix multiplication on "
    "Turing, which resampling of frames needs: export it with `--input tensors --precision fp16`",
    r"no tactics|[Mm]emory|workspace": "raise --workspace, or lower the maximum of --batch or "
    "--size",
    r"[Cc]uda|CUDA": "check driver and GPU with `dsunet-export doctor`",
}


class BuildLog:
    """Messages of TensorRT in one build, which come on the thread that builds."""

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self.errors: list[str] = []
        self.activation_bytes: int | None = None
        """Device memory of one execution context in bytes; None if TensorRT has not reported it."""
        self.weight_bytes: int | None = None
        """Device memory of the weights in bytes; None if TensorRT has not reported it."""

    def add(self, severity: str, message: str) -> None:
        """Add a message.  `severity` is the name of a member of TensorRT's enumeration."""
        if self._verbosity >= (2 if severity == _DETAILS else 1):
            for line in f"[{severity}] {message}".splitlines():
                print(clean(line), file=self._stream)
        if severity in ERRORS:
            self.errors.append(message)
        elif match := _ACTIVATIONS.match(message):
            self.activation_bytes = max(int(match[1]), self.activation_bytes or 0)
        elif match := _WEIGHTS.match(message):
            self.weight_bytes = max(int(match[1]), self.weight_bytes or 0)

    def reason(self, nodes: Collection[str] = ()) -> str:
        """Format the first error in one line, with the node that it names and a remedy."""
        if not self.errors:
            return "it reports no reason: -v prints its log"
        text = " ".join(self.errors[0].split())
        stripped = _SOURCE.sub("", text).rstrip(".) ")
        # The compiler appends a number to names of nodes: `MatMul_1_U196`.
        words = re.sub(r"_U\d+\b", "", stripped)
        found = {name: match for name in nodes if (match := _mention(name).search(words))}
        first = min(found, key=lambda name: (found[name].start(), -len(name)), default="")
        node = f" (node {printable(first)})" if first and f"'{first}'" not in stripped else ""
        return f"{printable(stripped, _LONGEST)}{node}: {_remedy(stripped)}"


def _mention(node: str) -> re.Pattern[str]:
    """Match the name of a node, but not inside the name of another."""
    return re.compile(rf"(?<![\w./]){re.escape(node)}(?!\w)")


def _remedy(reason: str) -> str:
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, reason):
            return remedy
    return "-v prints TensorRT's log"
