"""TensorRT's one logger: errors by thread, and the messages of a build."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dsunet_runtime import BackendError, read_manifest
from dsunet_runtime.backends.tensorrt.engine import LoadedEngine
from dsunet_runtime.backends.tensorrt.log import log_of
from tests.runtime import fake_tensorrt
from tests.runtime.conftest import Machine


def test_messages_go_to_the_build_of_their_thread(machine: Machine) -> None:
    log = log_of(machine.trt)
    received: list[str] = []

    def elsewhere() -> str:
        log.log(fake_tensorrt.Severity.ERROR, "of an engine")
        with log.forwarding_to(lambda _, message: received.append(f"there: {message}")):
            log.log(fake_tensorrt.Severity.INFO, "of a build")
        log.log(fake_tensorrt.Severity.INFO, "after that build")
        return str(log.reason())

    with (
        ThreadPoolExecutor(1) as pool,
        log.forwarding_to(lambda _, message: received.append(f"outside: {message}")),
    ):
        with log.forwarding_to(lambda severity, _: received.append(f"inside: {severity}")):
            assert pool.submit(elsewhere).result() == "of an engine"
            log.log(fake_tensorrt.Severity.ERROR, "of this build")
        log.log(fake_tensorrt.Severity.INFO, "and later")
    log.log(fake_tensorrt.Severity.INFO, "of no build")
    assert received == ["there: of a build", "inside: ERROR", "outside: and later"]
    assert log.reason() == "of this build"


def test_real_logger_and_runtime_without_a_driver(engine: Path) -> None:
    """The package itself, as far as it goes here: its logger, and a refusal as one line."""
    trt = pytest.importorskip("tensorrt_rtx")
    log = log_of(trt)
    assert log_of(trt) is log
    with pytest.raises(
        BackendError, match=r"a\.engine: (cannot run on this machine \(malformed|TensorRT)"
    ):
        LoadedEngine(trt, engine, read_manifest(engine), log)
    log.clear()
    received: list[tuple[str, str]] = []
    with log.forwarding_to(lambda *message: received.append(message)):
        assert trt.Runtime(log).deserialize_cuda_engine(os.urandom(1000)) is None
    assert any(severity == "ERROR" and "magicTag" in text for severity, text in received)
    count = len(received)
    assert trt.Runtime(log).deserialize_cuda_engine(os.urandom(1000)) is None
    assert len(received) == count
    assert "magicTag" in log.reason()
    assert "\n" not in log.reason()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(log.reason).result() == "no reason given"
    log.clear()
    assert log.reason() == "no reason given"
