"""Panels and examples in the help of the `dsunet` commands."""

from __future__ import annotations

DATA = "Data"
MODEL = "Model"
OPTIMIZATION = "Optimization"
VALIDATION = "Validation"
OUTPUT = "Output"
COMPUTATION = "Computation"


def examples(*commands: str) -> str:
    """The epilog of a command's help: example command lines, which are not wrapped."""
    return "Examples:\n\n\b\n" + "\n".join(f"  {command}" for command in commands)
