"""Check that ONNX Runtime computes a graph on the GPU that was requested.

Providers silently leave unsupported nodes to the CPU.  That is right for small nodes that compute
shapes, but not for matrix multiplications and convolutions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dsunet_runtime.backends.onnxruntime.execution_providers import CPU
from dsunet_runtime.errors import BackendError
from dsunet_runtime.message_text import shorten
from dsunet_runtime.provider import Provider

_ALLOW = "`dsunet-run … --allow-cpu-fallback`, in Python allow_cpu_fallback=True"
_HEAVY = re.compile(r"MatMul|Gemm|Conv(?!ert)|Attention|Einsum")
"""Operators that take nearly all of the time, fused and quantised ones included."""


def record_placement(options: Any) -> None:
    """Make a session record where it computes each node, for `check_placement`."""
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")


def check_placement(session: Any, path: Path, provider: Provider) -> None:
    """Raise BackendError if a session computes matrix multiplications or convolutions on the CPU.

    `record_placement` must have been called with the session's options.
    """
    report = getattr(session, "get_provider_graph_assignment_info", None)
    if report is None:
        raise BackendError(
            f"{path}: this ONNX Runtime does not report whether it computes on the GPU or on the "
            f"CPU: update it to 1.24 or later, or allow both ({_ALLOW})"
        )
    heavy = [
        (part.ep_name, f"{node.op_type} {node.name}")
        for part in report()
        for node in part.get_nodes()
        if _HEAVY.search(node.op_type)
    ]
    left = [name for where, name in heavy if where == CPU]
    if left:
        raise BackendError(
            f"{path}: the provider {provider.value!r} leaves {len(left):,} of {len(heavy):,} "
            f"matrix multiplications and convolutions to the CPU ({shorten(left)}): export with "
            f"another --precision or --opset, update the provider, or allow it ({_ALLOW})"
        )
