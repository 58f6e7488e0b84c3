"""A case that breaks the contract is reported with the command that runs it again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.fuzz import harness
from tests.fuzz.commands.arguments import declared_options
from tests.fuzz.commands.execution import APPS, run
from tests.fuzz.harness import FuzzFault, Outcome, Sample, Target, run_cases
from tests.fuzz.long_run import main


class OwnError(Exception):
    pass


def fails(message: str, kind: type[Exception] = OwnError) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        if path.read_bytes() == b"whole":
            return 1
        raise kind(message)

    return read


def other_after(work: Callable[[], Any]) -> Callable[[Path], Any]:
    return lambda path: 1 if path.read_bytes() == b"whole" else work()


def target(read: Callable[[Path], Any], *, is_protected: bool = False) -> Target:
    def change(random: Random, data: bytes) -> bytes:
        return b"changed"

    sample = Sample("a", {"a": b"whole"}, {"a": change}, is_protected)
    return Target("test", read, [sample], (OwnError,))


def outcome(subject: Target, folder: Path) -> Outcome:
    subject.prepare(folder / "whole")
    return subject.run(1, 1, folder / "case")


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (fails("cannot be read"), Outcome.REFUSED),
        (other_after(lambda: 1), Outcome.SAME),
        (other_after(lambda: 2), Outcome.OTHER),
    ],
)
def test_what_is_allowed(read: Callable[[Path], Any], expected: Outcome, tmp_path: Path) -> None:
    assert outcome(target(read), tmp_path) is expected


@pytest.mark.parametrize(
    ("read", "match"),
    [
        (fails("no number", ValueError), "ValueError, not an error of the package"),
        (fails("x" * 1000), "has 1000 characters"),
        (fails("two\nlines"), "not one printable line"),
        (fails("\x1b[31mred"), "not one printable line"),
        (fails(""), "the message is empty"),
        (other_after(lambda: np.ones(640 << 17)), "took 6.. MB"),
        (other_after(lambda: bytearray(1 << 50)), "MemoryError"),
    ],
)
def test_what_is_not(read: Callable[[Path], Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(FuzzFault, match=match):
        outcome(target(read), tmp_path)


def test_other_content_where_it_must_be_noticed(tmp_path: Path) -> None:
    with pytest.raises(FuzzFault, match="other content was accepted"):
        outcome(target(other_after(lambda: 2), is_protected=True), tmp_path)


def test_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "WAITING_SECONDS", 1)
    with pytest.raises(FuzzFault, match="does not end"):
        outcome(target(other_after(lambda: time.sleep(30))), tmp_path)


def test_faults_are_counted_and_kept(tmp_path: Path) -> None:
    subject = target(fails("no number", ValueError))
    subject.prepare(tmp_path / "whole")
    counts, faults = run_cases(subject, 1, range(3), tmp_path, tmp_path / "kept")
    assert counts == {"fault": 3}
    assert 'again: make fuzz FUZZ="--target test --seed 1 --case 2"' in str(faults[2])
    assert (tmp_path / "kept" / "test-1-2" / "a").read_bytes() == b"changed"


def test_a_long_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--target", "patterns", "--seed", "3", "--log", str(tmp_path / "log.jsonl")]
    assert main([*options, "--cases", "20"]) == 0
    assert "patterns 0:" in capsys.readouterr().out
    assert main([*options, "--cases", "20"]) == 0
    assert "patterns 0:" not in (out := capsys.readouterr().out)
    assert "20 cases" in out
    assert main([*options, "--case", "3"]) == 0


def test_writes_outside_the_folder_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "case" / "inside"
    inside.mkdir(parents=True)
    outside = tmp_path / "outside"

    def write(*arguments: Any, **options: Any) -> None:
        with contextlib.suppress(OSError):  # as a command that reports it and goes on
            outside.write_text("x")

    monkeypatch.setitem(APPS, "dsunet", write)
    with pytest.raises(FuzzFault, match=r"writes to .*outside"):
        run("dsunet", [], inside)
    assert not outside.exists()


def test_options_are_those_of_the_commands() -> None:
    options = {
        flag for _, found in declared_options(APPS["dsunet"]) for o in found for flag in o.flags
    }
    assert {"--deep-supervision", "-o", "--output", "--save-all"} <= options
