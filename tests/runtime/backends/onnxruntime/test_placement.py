"""A GPU that was asked for and is not used is an error.

There is no GPU here: what ONNX Runtime's CPU sessions report of themselves is read instead, and
stand-ins report the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import dsunet_runtime
from dsunet_runtime import BackendError
from dsunet_runtime.backends.onnxruntime.backend import session_options
from dsunet_runtime.backends.onnxruntime.placement import check_placement, record_placement
from dsunet_runtime.provider import Provider
from tests.runtime import artifacts
from tests.runtime.commands.runner import run
from tests.runtime.selftests import cases_for, give_selftest

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
reports_placement = pytest.mark.skipif(
    not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"),
    reason="ONNX Runtime 1.24 or later reports where it computes",
)


@dataclass(frozen=True)
class Node:
    op_type: str
    name: str = "a"


@dataclass(frozen=True)
class Part:
    ep_name: str
    nodes: Sequence[Node]

    def get_nodes(self) -> Sequence[Node]:
        return self.nodes


class Session:
    """Reports a placement."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts

    def get_provider_graph_assignment_info(self) -> Sequence[Part]:
        return self._parts


class TestReport:
    def test_shapes_on_the_cpu(self) -> None:
        small = [Node(op) for op in ("Shape", "Gather", "Concat", "Cast", "ConvertLike", "Mul")]
        heavy = [Node("MatMul"), Node("Conv"), Node("ConvTranspose")]
        session = Session(Part(CPU, small), Part(CUDA, heavy))
        check_placement(session, Path("a.onnx"), Provider.CUDA)

    @pytest.mark.parametrize(
        "operator",
        ["MatMul", "Gemm", "Conv", "ConvTranspose", "FusedConv", "QLinearConv", "MatMulInteger",
         "MultiHeadAttention", "FusedMatMul", "Einsum"],
    )  # fmt: skip
    def test_one_heavy_node_on_the_cpu(self, operator: str) -> None:
        session = Session(Part(CUDA, [Node("MatMul", "b")]), Part(CPU, [Node(operator, "x/y")]))
        with pytest.raises(BackendError) as caught:
            check_placement(session, Path("a.onnx"), Provider.RTX)
        assert str(caught.value) == (
            f"a.onnx: the provider 'rtx' leaves 1 of 2 matrix multiplications and convolutions to "
            f"the CPU ({operator} x/y): export with another --precision or --opset, update the "
            f"provider, or allow it (`dsunet-run … --allow-cpu-fallback`, in Python "
            f"allow_cpu_fallback=True)"
        )

    def test_long_lists_are_shortened(self) -> None:
        nodes = [Node("Conv", f"{number}") for number in range(2000)]
        with pytest.raises(BackendError, match=r"2,000 of 2,000 .*Conv 0, Conv 1 and 1,998 more"):
            check_placement(Session(Part(CPU, nodes)), Path("a.onnx"), Provider.CUDA)

    def test_older_onnx_runtime(self) -> None:
        with pytest.raises(BackendError, match=r"update it to 1\.24 or later, or allow both"):
            check_placement(object(), Path("a.onnx"), Provider.CUDA)

    @reports_placement
    @pytest.mark.parametrize("form", [artifacts.frames, artifacts.tensors])
    def test_session_on_the_cpu(self, tmp_path: Path, form: Any) -> None:
        path = form(tmp_path / "a.onnx")
        options = session_options(onnxruntime, None)
        record_placement(options)
        session = onnxruntime.InferenceSession(path, options, providers=[CPU])
        operator = "MatMul" if form is artifacts.frames else "Conv"
        with pytest.raises(BackendError, match=rf"leaves 1 of 1 .*\({operator}\)"):
            check_placement(session, path, Provider.CUDA)


@pytest.fixture
def cuda_that_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider `cuda` starts, and ONNX Runtime puts all nodes on the CPU."""
    create = onnxruntime.InferenceSession

    class OnCpu(create):  # type: ignore[misc, valid-type]
        def __init__(self, path: Any, options: Any, **others: object) -> None:
            super().__init__(path, options, providers=[CPU])

        def get_providers(self) -> list[str]:
            return [CUDA, CPU]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCpu)


@reports_placement
@pytest.mark.usefixtures("cuda_that_computes_nothing")
class TestCommands:
    def test_load(self, frames_artifact: Path) -> None:
        with pytest.raises(BackendError, match="'cuda' leaves 1 of 1"):
            dsunet_runtime.load(frames_artifact, provider="cuda")
        dsunet_runtime.load(frames_artifact, provider="cuda", allow_cpu_fallback=True).close()

    @pytest.mark.parametrize("command", ["predict", "bench", "selftest"])
    def test_commands(self, frames_artifact: Path, tmp_path: Path, command: str) -> None:
        rest = {
            "predict": ["assets/astronaut.jpg", "-o", tmp_path / "masks"],
            "bench": ["--no-cold-start", "--calls", "1", "--rounds", "1"],
            "selftest": [],
        }[command]
        path = give_selftest(frames_artifact, cases_for())
        arguments = (command, path, *rest, "--provider", "cuda")
        stopped = run(*arguments)
        assert stopped.exit_code == 1
        assert "'cuda' leaves 1 of 1" in stopped.stderr
        assert not (tmp_path / "masks").exists()
        allowed = run(*arguments, "--allow-cpu-fallback")
        assert allowed.exit_code == 0, allowed.stderr
