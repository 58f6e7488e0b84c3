"""Moments at which a run is killed, and processes in which that happens."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import torch

import dsunet.checkpoints.weight_files
from dsunet.training.run_folder import RunFolder
from dsunet.training.step import Stepper


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, function: Callable[..., Any], moment: Callable[..., Any]) -> Any:
    """Wrap a function: its nth call runs `moment` instead."""
    calls = 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return (moment if calls == number else function)(*args, **kwargs)

    return counting


def before_the_first_step() -> None:
    Stepper.step = at_call(1, Stepper.step, lambda *_: die())  # type: ignore[method-assign]


def after_three_steps() -> None:
    Stepper.step = at_call(4, Stepper.step, lambda *_: die())  # type: ignore[method-assign]


def after_one_step() -> None:
    Stepper.step = at_call(2, Stepper.step, lambda *_: die())  # type: ignore[method-assign]


def in_the_middle_of_a_state() -> None:
    def half(state: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        die()

    save = torch.save
    torch.save = at_call(3, save, half)


def in_the_middle_of_a_checkpoint() -> None:
    def half(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"\x40" * 1000)
        die()

    save = dsunet.checkpoints.weight_files.save_file
    dsunet.checkpoints.weight_files.save_file = at_call(3, save, half)  # type: ignore[attr-defined]


def between_log_and_state() -> None:
    def log_and_die(*args: Any) -> None:
        write(*args)
        die()

    write = RunFolder.write_log
    RunFolder.write_log = at_call(2, write, log_and_die)  # type: ignore[method-assign]


MOMENTS = (
    before_the_first_step,
    after_three_steps,
    in_the_middle_of_a_state,
    in_the_middle_of_a_checkpoint,
    between_log_and_state,
)


def in_a_process(function: Callable[[], None]) -> multiprocessing.Process:
    """Start a function in a process that is forked from one without threads.

    One that is forked from this process may wait for ever for what a thread of some library held.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=call_pickled, args=(cloudpickle.dumps(function),))
    process.start()
    return process  # type: ignore[return-value]


def call_pickled(function: bytes) -> None:
    cloudpickle.loads(function)()
