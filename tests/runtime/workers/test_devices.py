from __future__ import annotations

import os

import pytest

from dsunet_runtime import BackendError
from dsunet_runtime.cuda import nvml
from dsunet_runtime.workers.devices import VISIBLE, cores, gpus


def test_all_gpus_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(nvml, "gpu_names", lambda: ("one", "another", "one"))
    assert gpus() == ["0", "1", "2"]


@pytest.mark.parametrize("names", [None, ()])
def test_no_gpu(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...] | None) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(nvml, "gpu_names", lambda: names)
    with pytest.raises(BackendError, match=r"no NVIDIA GPU .*number of --workers"):
        gpus()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", ["2", "0"]),
        (" 3 , 1 ", ["3", "1"]),
        ("GPU-1234,MIG-5678", ["GPU-1234", "MIG-5678"]),
        ("1,-1,0", ["1"]),
        ("1,,0", ["1"]),
    ],
)
def test_the_variable_chooses(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    monkeypatch.setattr(nvml, "gpu_names", lambda: ("only one",))
    assert gpus() == expected


@pytest.mark.parametrize("visible", ["", "-1", "-1,0"])
def test_the_variable_hides_all(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    with pytest.raises(BackendError, match="hides all GPUs"):
        gpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7})
    assert cores() == 3
