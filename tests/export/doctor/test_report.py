"""The report as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dsunet_export.doctor.doctor_report import format_report, report_document
from dsunet_export.doctor.machine import Machine, NvidiaDriver, inspect_machine
from dsunet_export.doctor.tasks import check_tasks
from dsunet_runtime.extras import install_command
from tests.export.engines import H100, RTX_4090
from tests.export.machines import RTX_KNOWS, made_up


class TestTable:
    @pytest.mark.parametrize(
        "machine",
        [
            inspect_machine,
            lambda: made_up(RTX_4090),
            lambda: made_up(H100, RTX_4090, broken=("tensorrt", "onnx"), without=("timm",)),
        ],
    )
    def test_columns(self, machine: Callable[[], Machine]) -> None:
        """Only commands may be longer: they are to be copied."""
        found = machine()
        tasks = check_tasks(found)
        commands = {need.remedy for task in tasks for need in task.needs}
        for line in format_report(found, tasks).splitlines():
            assert len(line) <= 100 or line.strip() in commands
            assert line == line.rstrip()

    def test_lists_what_is_installed(self) -> None:
        found = made_up(RTX_4090, H100)
        rows = [
            " ".join(line.split()) for line in format_report(found, check_tasks(found)).splitlines()
        ]
        assert "NVIDIA driver 580.95.05" in rows
        assert "CUDA of the driver 13.0 newest supported version" in rows
        assert "GPU 0 8.9 NVIDIA GeForce RTX 4090, 24.0 GiB, 23.0 GiB free" in rows
        assert "PyTorch 1.2.3 for CUDA 13.0, finds a GPU" in rows
        builds = ", ".join(RTX_KNOWS)
        assert f"TensorRT for RTX 1.2.3 for CUDA 13, builds for {builds}" in rows

    def test_every_remedy_once(self) -> None:
        found = made_up(driver=NvidiaDriver(None, None, "no"), without=("timm", "sam2", "tensorrt"))
        lines = [line.strip() for line in format_report(found, check_tasks(found)).splitlines()]
        assert lines.count(install_command("torch")) == 1
        assert lines.count("timm is not installed; sam2 is not installed") == 1
        assert sum("https://www.nvidia.com/drivers" in line for line in lines) == 1

    def test_says_no_more_than_needed_where_nothing_is_missing(self) -> None:
        found = made_up(RTX_4090)
        assert "What is missing" not in format_report(found, check_tasks(found))

    def test_document_can_be_json(self) -> None:
        found = made_up(RTX_4090, broken=("tensorrt",))
        document = report_document(found, check_tasks(found))
        again = json.loads(json.dumps(document))
        assert set(again) == {
            "python", "platform", "cpu", "driver", "gpus", "packages", "onnxruntimes", "providers",
            "tensorrt", "torch", "tasks",
        }  # fmt: skip
        assert again["packages"]["tensorrt"]["state"] == "broken"
        assert again["gpus"][0]["memory"] == 24 << 30
