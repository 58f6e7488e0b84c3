"""A command line run in this process, within limits: its exit code and stderr."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dsunet.cli
import dsunet_export.cli
import dsunet_runtime.cli
from tests.fuzz.commands.writes import WRITES
from tests.fuzz.harness import FuzzFault, bounded, check_message

_SECONDS = 4
"""Seconds after which a command that computes is interrupted, as by Ctrl-C."""
_MEMORY = 1 << 30
_LONG = 200
_LINES = 30
"""Limit for the lines of stderr: a line, or a line and a list of twenty."""

APPS = {
    "dsunet": dsunet.cli.app,
    "dsunet-export": dsunet_export.cli.app,
    "dsunet-run": dsunet_runtime.cli.app,
}


def check(program: str, code: int, error: str, arguments: list[str]) -> None:
    """Raise FuzzFault unless exit code and stderr are those of a command that ends in order.

    Messages may repeat an argument whole, and as the path that it names.
    """
    for word in (word for argument in arguments for word in (argument, *argument.split("="))):
        for form in (word, str(Path(word))):
            error = error.replace(form, "…") if len(form) > _LONG else error
    lines = error.split("\n")
    if code not in (0, 1, 2, 130):
        raise FuzzFault(f"exit code {code}")
    if "Traceback (most recent call last)" in error:
        raise FuzzFault("a traceback")
    if len(lines) > _LINES:
        raise FuzzFault(f"{len(lines)} lines")
    for line in lines:
        if line:
            check_message(line.replace("\r", "").replace("\x1b[2K", ""))
    if code == 1 and not any(line.startswith(f"{program}: ") for line in lines):
        raise FuzzFault("exit code 1 without a reason")


def run(program: str, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder; return its exit code and stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    before, tempdir, stdin = Path.cwd(), tempfile.tempdir, sys.stdin
    os.chdir(folder)
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    tempfile.tempdir = str(folder.parent)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            bounded(_MEMORY),
            WRITES.only_in(folder.parent, arguments),
            _interrupted(),
        ):
            try:
                APPS[program](arguments, prog_name=program)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except FuzzFault:
        raise
    except BaseException as error:
        raise FuzzFault(f"{type(error).__name__} escapes") from error
    finally:
        os.chdir(before)
        tempfile.tempdir = tempdir
        sys.stdin = stdin
    err.flush()
    return code, err.buffer.getvalue().decode("utf-8", "replace")


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Interrupt a body that computes for too long; raise FuzzFault if it was waiting."""
    started, used = time.monotonic(), time.process_time()
    waited = False

    def ring(number: int, frame: object) -> None:
        nonlocal waited
        waited = time.process_time() - used < 0.05 * (time.monotonic() - started)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        for name in ("SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if waited:
        raise FuzzFault("waits without end")
