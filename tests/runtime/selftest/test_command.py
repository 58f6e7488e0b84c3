"""`dsunet-run selftest`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet_runtime import read_manifest
from dsunet_runtime.backends.onnxruntime.backend import OnnxRuntimeBackend
from dsunet_runtime.bench.cold_start import measure_cold_start
from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.cli import app
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.comparison import Comparison
from dsunet_runtime.selftest.policy import SelfTestPolicy
from tests.runtime import artifacts
from tests.runtime.selftests import give_selftest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["selftest", *map(str, arguments)])


def make_wrong(tested: Path) -> Path:
    """An artifact that computes something else than its manifest says."""
    cases = read_manifest(tested).selftest
    wrong = replace(cases[1], points=(0.0,) * 64)
    return give_selftest(tested, (cases[0], wrong, cases[2]))


def test_what_is_right(tested: Path) -> None:
    result = run(tested)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *("batch 1, 60×40", "batch 1, 17×33", "batch 2, 60×40", "batch 2, 17×33")
    ]
    assert all("(tolerance 0.01)" in line for line in lines)


def test_what_is_wrong(tested: Path) -> None:
    result = run(make_wrong(tested))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dsunet-run: {tested}: this machine does not compute what")
    assert "2 of 7 comparisons" in line
    assert "batch 1, place 0, picture 1 of 60×40" in line


def test_where_load_would_test_it_too(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed once, and what was found is printed, also where it is wrong."""
    monkeypatch.setattr(OnnxRuntimeBackend, "machine", ("a GPU",))
    result = run(make_wrong(tested))
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 4
    assert [path.name for path in tested.parent.iterdir()] == [tested.name]


def test_the_outcome_is_recorded(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "machine", ("a GPU",))
    record = tested.with_name(f"{tested.name}.selftest.json")
    assert run(tested).exit_code == 0
    assert json.loads(record.read_text())["machines"] == [["a GPU"]]
    with monkeypatch.context() as broken:
        broken.setattr(Comparison, "of", lambda case, *found: Comparison(case, 1e9, 0.0))
        assert run(tested).exit_code == 1
    assert json.loads(record.read_text())["machines"] == []


@pytest.mark.parametrize(("policy", "code"), [("auto", 1), ("always", 1), ("never", 0)])
@pytest.mark.parametrize("command", ["predict", "bench"])
def test_other_commands(
    tested: Path, monkeypatch: pytest.MonkeyPatch, command: str, policy: str, code: int
) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "machine", ("a GPU",))
    image = tested.parent / "image.png"
    Image.new("RGB", (9, 7)).save(image)
    output = tested.parent / "new"
    arguments = {
        "predict": [image, "-o", output / "mask.png"],
        "bench": ["--calls", 2, "--no-cold-start", "-o", output],
    }[command]
    result = CliRunner().invoke(
        app, [command, str(make_wrong(tested)), *map(str, arguments), "--selftest", policy]
    )
    assert result.exit_code == code
    assert ("--selftest never" in result.stderr) is bool(code)


def test_cold_starts_leave_it_out(tested: Path) -> None:
    """A new process would run it first, and its time would count as loading."""
    image = tested.parent / "image.png"
    Image.new("RGB", (9, 7)).save(image)
    runner = Runner(make_wrong(tested), Provider.CPU, selftest=SelfTestPolicy.ALWAYS)
    assert measure_cold_start(runner, image, 1).load > 0


def test_json(tested: Path) -> None:
    result = run(make_wrong(tested), "--json", "--provider", "cpu")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    passed = [one["passed"] for one in document["comparisons"]]
    assert passed == [True, False, True, True, False, True, True]
    assert document["comparisons"][1]["points"] > 1


def test_refusals(tmp_path: Path) -> None:
    old = artifacts.frames(tmp_path / "old.onnx")
    result = run(old)
    assert result.exit_code == 1
    assert "export it again" in result.stderr
    assert run(tmp_path / "a.engine", "--provider", "cpu").exit_code == 2
    assert run(tmp_path / "none.onnx").exit_code == 1
