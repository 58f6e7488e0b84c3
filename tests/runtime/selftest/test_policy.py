"""When `load` runs the self-test, and what it remembers of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dsunet_runtime
from dsunet_runtime import ArtifactError, BackendError, SelfTestError, read_manifest
from dsunet_runtime.backends.onnxruntime.backend import OnnxRuntimeBackend
from dsunet_runtime.selftest import apply_policy, record
from dsunet_runtime.selftest.comparison import Comparison
from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest

RTX_4090 = ("ONNX Runtime 1.30", "NVIDIA GeForce RTX 4090", "580.95")
RTX_5090 = ("ONNX Runtime 1.30", "NVIDIA GeForce RTX 5090", "580.95")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every run of a self-test."""
    counted: list[int] = []
    original = apply_policy.run_selftest

    def count(segmenter: dsunet_runtime.Segmenter) -> object:
        counted.append(1)
        return original(segmenter)

    monkeypatch.setattr(apply_policy, "run_selftest", count)
    return counted


def on(machine: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ONNX Runtime say that it runs there."""
    monkeypatch.setattr(OnnxRuntimeBackend, "machine", machine)


def load(path: Path, **options: str) -> None:
    dsunet_runtime.load(path, **options).close()  # type: ignore[arg-type]


def wrong(tested: Path) -> Path:
    cases = read_manifest(tested).selftest
    return give_selftest(tested, (replace(cases[0], points=(1.0,) * 64), *cases[1:]))


def test_the_cpu_is_not_tested(tested: Path, runs: list[int]) -> None:
    load(tested)
    load(wrong(tested))
    assert not runs
    assert {path.name for path in tested.parent.iterdir()} == {tested.name}


def test_once_for_each_machine(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for machine, count in ((RTX_4090, 1), (RTX_4090, 1), (RTX_5090, 2), (RTX_4090, 2)):
        on(machine, monkeypatch)
        load(tested)
        assert len(runs) == count
    record = json.loads((tested.parent / f"{tested.name}.selftest.json").read_text())
    assert record["machines"] == [[*RTX_4090], [*RTX_5090]]


def test_machines_recorded_by_two_processes_are_one(
    tested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process has read the record before the first one wrote it."""
    on(RTX_4090, monkeypatch)
    original = apply_policy.run_selftest

    def while_another_starts(segmenter: dsunet_runtime.Segmenter) -> object:
        monkeypatch.setattr(apply_policy, "run_selftest", original)
        load(tested)
        return original(segmenter)

    monkeypatch.setattr(apply_policy, "run_selftest", while_another_starts)
    load(tested)
    record = json.loads((tested.parent / f"{tested.name}.selftest.json").read_text())
    assert record["machines"] == [[*RTX_4090]]


def test_machines_recorded_at_the_same_time(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By workers on several GPUs: none is lost."""
    original = record._machines

    def slowly(*arguments: Any) -> object:
        found = original(*arguments)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(record, "_machines", slowly)
    manifest = read_manifest(tested)
    machines = [(f"GPU {number}",) for number in range(8)]
    with ThreadPoolExecutor(len(machines)) as pool:
        assert not any(
            pool.map(lambda machine: record.record_outcome(tested, manifest, machine, []), machines)
        )
    document = json.loads((tested.parent / f"{tested.name}.selftest.json").read_text())
    assert sorted(document["machines"]) == [[*machine] for machine in machines]


def test_again_for_another_artifact_of_the_name(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(RTX_4090, monkeypatch)
    load(tested)
    give_selftest(tested, cases_for()[:2])
    load(tested)
    load(tested)
    assert len(runs) == 2


def test_a_failure_takes_an_earlier_pass_back(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tested.parent / f"{tested.name}.selftest.json"
    for machine in (RTX_4090, RTX_5090):
        on(machine, monkeypatch)
        load(tested)
    with monkeypatch.context() as broken:
        broken.setattr(Comparison, "of", lambda case, *found: Comparison(case, 1e9, 0.0))
        with pytest.raises(SelfTestError):
            load(tested, selftest="always")
    assert json.loads(record.read_text())["machines"] == [[*RTX_4090]]
    load(tested)
    assert len(runs) == 4
    assert json.loads(record.read_text())["machines"] == [[*RTX_4090], [*RTX_5090]]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"manifest_sha256": 1}', '{"machines": [[1]]}', "\0" * 9]
)
def test_again_if_the_record_is_damaged(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    on(RTX_4090, monkeypatch)
    load(tested)
    record = tested.parent / f"{tested.name}.selftest.json"
    record.write_text(content)
    load(tested)
    load(tested)
    assert len(runs) == 2


def test_without_a_place_for_the_record(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(RTX_4090, monkeypatch)
    (tested.parent / f"{tested.name}.selftest.json").mkdir()
    load(tested)
    load(tested)
    assert len(runs) == 2


def test_a_failure_is_an_error_each_time(
    tested: Path, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(RTX_4090, monkeypatch)
    closed: list[int] = []
    monkeypatch.setattr(OnnxRuntimeBackend, "close", lambda self: closed.append(1))
    wrong(tested)
    for count in (1, 2):
        with pytest.raises(
            SelfTestError, match=r"RTX 4090, 580.95: this machine.*selftest='never'"
        ):
            load(tested)
        assert len(runs) == len(closed) == count
    load(tested, selftest="never")
    assert len(runs) == 2


def test_always(tested: Path, runs: list[int]) -> None:
    load(tested, selftest="always")
    load(tested, selftest="always")
    assert len(runs) == 2
    with pytest.raises(SelfTestError):
        load(wrong(tested), selftest="always")


def test_artifacts_without_a_self_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(RTX_4090, monkeypatch)
    old = artifacts.frames(tmp_path / "old.onnx")
    other = artifacts.frames(tmp_path / "other.onnx", height=5, width=5)
    give_selftest(other, cases_for())
    for path in (old, other):
        load(path)
        with pytest.raises(ArtifactError, match=rf"{path.name}: the artifact .*export (it )?again"):
            load(path, selftest="always")


def test_unknown_policy(tested: Path) -> None:
    with pytest.raises(BackendError, match="unknown selftest 'often': use one of auto, always, n"):
        load(tested, selftest="often")
