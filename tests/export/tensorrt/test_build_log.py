"""TensorRT's log: memory, and errors in a line."""

from __future__ import annotations

import io
import re

import pytest

from dsunet_export.tensorrt.build_log import BuildLog


class TestLog:
    def test_memory(self) -> None:
        log = BuildLog(io.StringIO())
        for line in (
            "Total Host Persistent Memory: 80 bytes",
            "Total Activation Memory: 223659520 bytes",
            "Total Activation Memory: 1024 bytes",
            "Total Weights Memory: 7790080",
            "Total Weights Memory: 3 MiB",
        ):
            log.add("INFO", line)
        assert (log.activation_bytes, log.weight_bytes) == (223659520, 7790080)
        assert log.errors == []

    def test_what_is_printed(self) -> None:
        printed = []
        for verbosity in range(3):
            stream = io.StringIO()
            log = BuildLog(stream, verbosity)
            for severity in ("VERBOSE", "INFO", "ERROR"):
                log.add(severity, "said")
            printed.append(stream.getvalue().split())
        assert printed[0] == []
        assert printed[1] == ["[INFO]", "said", "[ERROR]", "said"]
        assert printed[2] == ["[VERBOSE]", "said", *printed[1]]

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (
                "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: "
                "check_turing_op_compatibility] Cannot compile operation 'MatMul_1_U196' for "
                "Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
                "/_src/optimizer/myelin/codeGenerator.cpp:2012)",
                r"Cannot compile operation 'MatMul_1_U196' for Turing \(SM75\): FP32 GEMM is not "
                r"supported \(node MatMul_1\): TensorRT for RTX has no float32 matrix .*",
            ),
            (
                "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find "
                "any implementation for node {ForeignNode[blocks.0/MatMul...blocks.1/Add]}. In "
                "computeCosts at /_src/optimizer/common/tactic/optimizer.cpp:4115)",
                r"Could not find any .* \(node blocks.0/MatMul\): -v prints TensorRT's log",
            ),
            (
                "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([a.cpp:1: f] Could not "
                "infer output types for operation: 297: deconv: locks.1/Add-(bf16[1]) | "
                "blocks.0/MatMul-(bf16[1,384,3,3][]so[], mem_prop=0)" + " and so on" * 99,
                r"Could not infer .{200,300}… \(node locks.1/Add\): .* keep it in float32 .*",
            ),
            ("something\nnew", "something new: -v prints TensorRT's log"),
        ],
    )
    def test_reason(self, message: str, reason: str) -> None:
        log = BuildLog(io.StringIO())
        log.add("ERROR", message)
        log.add("ERROR", "what follows from it")
        nodes = ["MatMul", "MatMul_1", "blocks.0/MatMul", "locks.1/Add"]
        assert re.fullmatch(reason, log.reason(nodes))

    def test_no_reason(self) -> None:
        assert "-v prints its log" in BuildLog(io.StringIO()).reason()
