"""The reader of `--keep-fp32 @FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.options import read_patterns
from dsunet_export.precision.rules import KeptNodes
from tests.fuzz.harness import Sample, Target
from tests.fuzz.mutation import change_lines

_NODES = [f"sff.{k}/{kind}_{n}" for k in range(3) for kind in ("Conv", "MatMul") for n in range(20)]
_PATTERNS = b"# found by --bisect\nsff.0*\n\n*/MatMul_1*  # the scores\nsff.2/Conv_[0-9]\n"


def patterns(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`read_patterns`, and the nodes that the patterns keep."""
    sample = Sample("keep.txt", {"keep.txt": _PATTERNS}, {"keep.txt": change_lines})
    return Target("patterns", _kept, [sample], (ExportError,))


def _kept(path: Path) -> Any:
    selection = KeptNodes(_NODES)
    selection.request(read_patterns([f"@{path}"]))
    return selection.names
