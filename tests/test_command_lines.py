"""Every command of the three programs with hostile arguments: one line, exit code 1 or 2."""

from __future__ import annotations

import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import typer.testing
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet.cli
import dsunet_export.cli
import dsunet_runtime.cli
from dsunet.checkpoints.demonstration import demonstration_checkpoint
from tests.export.conftest import exported_frames
from tests.export.helpers import graph_of

PROGRAMS = {
    "dsunet": dsunet.cli.app,
    "dsunet-export": dsunet_export.cli.app,
    "dsunet-run": dsunet_runtime.cli.app,
}


@pytest.fixture(scope="module", autouse=True)
def _programs_are_built_once() -> Iterator[None]:
    """Typer's runner builds the program anew for each call, which takes longer than most cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@dataclass(frozen=True)
class Command:
    program: str
    name: str
    callback: Callable[..., Any]

    @property
    def reads_files(self) -> bool:
        return self.name not in ("demonstration", "generate")

    def run(self, *arguments: object) -> Result:
        # What Python makes of names that are not UTF-8 is text, too.
        return CliRunner().invoke(PROGRAMS[self.program], [self.name, *map(str, arguments)])

    def parameters(self, *kinds: type) -> Iterator[tuple[str, str]]:
        """Name and option of each parameter of these types; of arguments the option is empty."""
        hints = typing.get_type_hints(self.callback)
        for parameter in inspect.signature(self.callback, eval_str=True).parameters.values():
            if kinds_of(hints[parameter.name]) & {*kinds} and not is_count(parameter):
                yield parameter.name, option_of(parameter)


def kinds_of(hint: Any) -> set[type]:
    """The types in `int`, `int | None`, `list[int]` and so on."""
    inner = typing.get_args(hint)
    return set().union(*map(kinds_of, inner)) if inner else {hint}


def information(parameter: inspect.Parameter) -> Any:
    found = typing.get_args(parameter.annotation)[1:]
    return found[0] if found else None


def is_count(parameter: inspect.Parameter) -> bool:
    return getattr(information(parameter), "count", None) is True


def option_of(parameter: inspect.Parameter) -> str:
    found = information(parameter)
    if isinstance(found, typer.models.ArgumentInfo):
        return ""
    names = [name for name in found.param_decls or () if name.startswith("--")]
    return names[0] if names else "--" + parameter.name.replace("_", "-")


COMMANDS = [
    Command(program, command.name or command.callback.__name__, command.callback)
    for program, app in PROGRAMS.items()
    for command in app.registered_commands
    if command.callback is not None
]

CONTEXT: dict[tuple[str, str], list[str]] = {
    ("dsunet", "inspect"): ["CHECKPOINT"],
    ("dsunet", "convert"): ["CHECKPOINT", "--output", "new.safetensors"],
    ("dsunet", "demonstration"): ["--output", "new.safetensors"],
    ("dsunet", "train"): ["--output", "new", "--images", "I", "--masks", "M", "--preset", "nano"],
    ("dsunet", "distill"): ["CHECKPOINT", "--output", "new", "--images", "I", "--masks", "M"],
    ("dsunet", "evaluate"): ["CHECKPOINT", "--images", "I", "--masks", "M"],
    ("dsunet", "ablate"): ["--output", "new", "--test", "a=I", "--images", "I", "--masks", "M"],
    ("dsunet", "explain"): ["I/a.png", "--output", "new.png", "--checkpoint", "CHECKPOINT"],
    ("dsunet", "predict"): ["CHECKPOINT", "I", "--output", "new", "--device", "cpu"],
    ("dsunet", "generate"): ["--output", "new", "--count", "1"],
    ("dsunet-export", "onnx"): ["CHECKPOINT", "--output", "new.onnx"],
    ("dsunet-export", "trt"): ["CHECKPOINT", "--output", "new.engine", "--gpu", "rtx4090"],
    ("dsunet-export", "verify"): ["CHECKPOINT", "CHECKPOINT"],
    ("dsunet-export", "tune"): ["CHECKPOINT", "--dataset", "a=I", "--output", "new"],
    ("dsunet-export", "inspect"): ["CHECKPOINT"],
    ("dsunet-export", "doctor"): [],
    ("dsunet-export", "deepstream"): ["CHECKPOINT", "--output", "new", "--size", "8x8"],
    ("dsunet-export", "triton"): ["CHECKPOINT", "--output", "new", "--name", "model"],
    ("dsunet-run", "predict"): ["CHECKPOINT", "I", "--output", "new"],
    ("dsunet-run", "bench"): ["CHECKPOINT"],
    ("dsunet-run", "selftest"): ["CHECKPOINT"],
}
"""What else a command needs so that a path is looked at.  CHECKPOINT is not there: whatever is not
refused before it is read, is refused then.
"""
LONG = "a" * 300
PATHS = {
    "too long": LONG,
    "too deep": "/".join(["folder"] * 1000),
    "loop": "loop",
    "below a loop": "loop/x",
    "below a file": "file/x",
    "NUL": "a\0b",
    "empty": "",
    "a pipe": "pipe",
    "a device": "/dev/zero",
    "not UTF-8": "\udcff\udcfe",
    "control characters": "\x1b[31mred\x07\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the commands find in their working folder, and must leave as it is."""
    monkeypatch.chdir(tmp_path)
    for name in ("I", "M"):
        Path(name).mkdir()
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(f"{name}/a.png")
    Path("file").write_bytes(b"something")
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    before = contents(tmp_path)
    yield tmp_path
    assert contents(tmp_path) == before


def contents(folder: Path) -> set[str]:
    return {os.path.join(*one) for one in walk(folder)}  # noqa: PTH118


def walk(folder: Path) -> Iterator[tuple[str, str]]:
    for parent, folders, files in os.walk(folder):
        yield from ((parent, name) for name in folders + files)


def one_line(result: Result, program: str) -> str:
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{program}: ")
    assert line.isprintable()
    return line


def test_every_command_is_tested() -> None:
    assert {(command.program, command.name) for command in COMMANDS} <= CONTEXT.keys()


def path_cases() -> Iterator[Any]:
    for command in COMMANDS:
        for name, option in command.parameters(Path):
            for kind, path in PATHS.items():
                # Without another input, these do what they are told under an unusual name.
                unusual = kind in ("not UTF-8", "control characters")
                if unusual and option == "--output" and not command.reads_files:
                    continue
                title = f"{command.program} {command.name} {option or name} {kind}"
                yield pytest.param(command, option, path, id=title)


@pytest.mark.parametrize(("command", "option", "path"), list(path_cases()))
def test_hostile_paths(folder: Path, command: Command, option: str, path: str) -> None:
    result = command.run(*command_line(command, option, path))
    line = one_line(result, command.program)
    assert result.exit_code in (1, 2), line


@pytest.mark.parametrize("place", ["-", "/dev/null", "pipe", "loop/x", "file/x", LONG])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(command, option, id=f"{command.program} {command.name} {option}")
        for command in COMMANDS
        for _, option in command.parameters(Path)
        if option in ("--output", "--save-masks", "--bisect", "--timing-cache", "--cache")
    ],
)
def test_places_to_write_are_checked_first(
    folder: Path, command: Command, option: str, place: str
) -> None:
    """Before what is read, which is missing here."""
    result = command.run(*command_line(command, option, place))
    line = one_line(result, command.program)
    assert result.exit_code == 2, line
    assert option in line


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (
            "dsunet",
            ["evaluate", "CHECKPOINT", "--images", "I", "--masks", "M", "-o", "report.html"],
        ),
        ("dsunet", ["train", "--images", "I", "--masks", "M", "-o", "model.safetensors"]),
        ("dsunet", ["generate", "-o", "scenes.ZIP"]),
        ("dsunet-export", ["verify", "A", "B", "-o", "verify.html"]),
        ("dsunet-run", ["bench", "A", "-o", "bench.json"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "masks.png"]),
        ("dsunet-run", ["predict", "A", "I/a.png", "M/a.png", "-o", "mask.png"]),
        ("dsunet-run", ["predict", "A", "I/a.png", "-o", "mask.jpg"]),
        ("dsunet", ["predict", "A", "I", "-o", "masks.png"]),
    ],
)
def test_no_folder_is_made_with_the_name_of_a_file(
    folder: Path, program: str, arguments: list[str]
) -> None:
    result = CliRunner().invoke(PROGRAMS[program], arguments)
    assert result.exit_code == 2
    assert re.search(r"names a file|is one file|masks are PNG files", one_line(result, program))


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("dsunet convert A -o", "dd/", "dd/ is a folder: name a file in it"),
        ("dsunet convert A -o", "dd/.", "dd/. is a folder"),
        ("dsunet convert A -o", "dd/x.onnx", "ends in .safetensors: give dd/x.safetensors"),
        ("dsunet convert A -o", "x.pth", "ends in .safetensors: give x.safetensors"),
        ("dsunet demonstration -o", "dd/", "dd/ is a folder"),
        ("dsunet demonstration -o", "x.safetensors/", "x.safetensors/ is a folder"),
        ("dsunet demonstration -o", "x.onnx", "ends in .safetensors: give x.safetensors"),
        ("dsunet explain I/a.png --preset nano -o", "x.png/", "x.png/ is a folder"),
        ("dsunet predict A I/a.png -o", "x.png/", "the suffix of a file and the slash of a folder"),
        ("dsunet-run predict A I/a.png -o", "x.png/", "the suffix of a file and the slash"),
        ("dsunet-export onnx A -o", "x.onnx/", "x.onnx/ is a folder"),
        ("dsunet-export trt A -o", "x.engine/", "x.engine/ is a folder"),
        ("dsunet-export trt A -o x.plan --timing-cache", "c/", "c/ is a folder"),
        ("dsunet-export trt A -o x.plan --timing-cache", "c.onnx", "another kind of file (.onnx)"),
        ("dsunet-export verify A.onnx B.onnx --bisect", "keep/", "keep/ is a folder"),
        ("dsunet-export verify A.onnx B.onnx --bisect", "B.onnx", "another kind of file (.onnx)"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(
    folder: Path, command: str, arguments: str, message: str
) -> None:
    program, *options = command.split()
    result = CliRunner().invoke(PROGRAMS[program], [*options, arguments])
    line = one_line(result, program)
    assert result.exit_code == 2, line
    assert message in line


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("dsunet demonstration -o", "x.safetensors"),
        ("dsunet generate --count 1 --size 64 --workers 1 -o", "x"),
        ("dsunet convert NANO -o", "x.safetensors"),
        ("dsunet explain I/a.png --points 4 --checkpoint NANO -o", "x.png"),
        ("dsunet-export onnx NANO --no-verify -o", "x.onnx"),
    ],
)
def test_names_are_printed_without_control_characters(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    command: str,
    name: str,
) -> None:
    if "onnx" in command:  # the graph is one that was exported before
        graph = graph_of(exported_frames(tmp_path_factory))
        monkeypatch.setattr("dsunet_export.onnx.trace_model", lambda model, options: graph)
    monkeypatch.chdir(tmp_path)
    Path("I").mkdir()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save("I/a.png")
    nano = str(demonstration_checkpoint())
    program, *options = command.replace("NANO", nano).split()
    output = f"\x1b[31m/{name}"
    result = CliRunner().invoke(PROGRAMS[program], [*options, output])
    assert result.exit_code == 0, result.output
    assert f"\\x1b[31m/{name}" in result.stdout
    assert "\x1b" not in result.output
    assert Path(output).exists()


@pytest.mark.parametrize("source", ["train --images I --masks M", "ablate --test a=I --dataset I"])
def test_tensorboard_needs_a_unicode_folder(folder: Path, source: str) -> None:
    result = CliRunner().invoke(
        PROGRAMS["dsunet"],
        [*source.split(), "--preset", "nano", "--tensorboard", "-o", "rt\udce9"],
    )
    line = one_line(result, "dsunet")
    assert result.exit_code == 2, line
    assert re.search(r"rt\\xe9: the path is not valid UTF-8, .* without --tensorboard", line)


NUMBERS = ["9" * 5000, "-1e99", "1e30", "1e400", "nan", "-inf", "-1", "two", "0x10"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(command, option, id=f"{command.program} {command.name} {option}")
        for command in COMMANDS
        for _, option in command.parameters(int, float)
    ],
)
def test_hostile_numbers(folder: Path, command: Command, option: str) -> None:
    count = 3 if option == "--deep-supervision" else 1
    for number in NUMBERS:
        result = command.run(*CONTEXT[command.program, command.name], option, *[number] * count)
        line = one_line(result, command.program)
        assert result.exit_code == 2, (number, line)
        limits = r"is not an? (integer|number) (from [-0-9.]+ to|above 0, at most) [0-9.]+;"
        assert re.search(rf"'{option}'.* {limits}", line)
        assert len(line) < 300


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--batch", "9" * 5000]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--batch", "٣"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--size", "9" * 5000 + "x1"]),
        ("dsunet-export", ["trt", "A", "-o", "x.engine", "--batch", "9" * 5000]),
        ("dsunet-export", ["trt", "A", "-o", "x.engine", "--size", "1x" + "9" * 5000]),
        ("dsunet-export", ["trt", "A", "-o", "x.engine", "--gpu", "9" * 5000]),
        ("dsunet-export", ["trt", "A", "-o", "x.engine", "--compute-capability", "9" * 5000]),
        ("dsunet-export", ["trt", "A", "-o", "x.plans"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--preset", "gigantic"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--random-weights"]),
        ("dsunet-export", ["onnx", "-o", "x.onnx"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--keep-fp32", "*"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--attention", "float32"]),
        ("dsunet-export", ["onnx", "A", "-o", "x.onnx", "--precision", "\x1b[31m" + "9" * 5000]),
        ("dsunet", ["train", "--images", "I", "-o", "new"]),
        ("dsunet", ["train", "--images", "I", "--masks", "M", "-o", "new", "--preset", "gigantic"]),
        ("dsunet", ["explain", "I/a.png", "-o", "x.png", "--preset", "gigantic"]),
        ("dsunet", ["evaluate", "A", "--dataset", "a="]),
        ("dsunet", ["ablate", "-o", "new", "--test", "a=I", "--epochs", "0"]),
        ("dsunet", ["inspect"]),
        ("dsunet", ["inspect", "a", "b"]),
        ("dsunet", ["inspects"]),
        ("dsunet", ["--versions"]),
        ("dsunet-run", ["bench", "A", "--calls", "1", "--seconds", "1"]),
        ("dsunet-run", ["predict", "A.engine", "I", "-o", "new", "--provider", "cpu"]),
        ("dsunet-run", ["predict", "A", "I", "--output"]),
        ("dsunet-run", ["selftest", "A.engine", "--provider", "cpu"]),
        ("dsunet-run", ["selftest", "A", "--allow-cpu-fallback", "--provider", "openvino"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--allow-cpu-fallback"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--domain", "A"]),
        ("dsunet-run", ["selftest", "A", "--domain", "A"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--provider", "tpu"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--workers", "0"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--workers", "1025"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--workers", "9" * 5000]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--workers", "gpus"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--workers", "gpus", "--ray", "auto"]),
        ("dsunet-run", ["predict", "A", "I/a.png", "-o", "-", "--workers", "2"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--threads-per-worker", "2"]),
        (
            "dsunet-run",
            ["predict", "A.plan", "I", "-o", "new", "--workers", "2", "--threads-per-worker", "2"],
        ),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--ray", "head"]),
        ("dsunet-run", ["predict", "A", "I", "-o", "new", "--ray", "head:port"]),
        ("dsunet-run", ["bench", "A", "--allow-cpu-fallback", "--provider", "cpu"]),
        ("dsunet-run", ["predict", "A", "I", "--output="]),
        ("dsunet-run", [""]),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, program: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(PROGRAMS[program], arguments)
    line = one_line(result, program)
    assert result.exit_code == 2, line
    assert re.search(rf"; see `{program}( \w+)? --help`$", line)
    assert len(line) < 600


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_a_command_there_is_help(program: str) -> None:
    result = CliRunner().invoke(PROGRAMS[program], [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


def command_line(command: Command, option: str, path: str) -> list[str]:
    arguments = list(CONTEXT[command.program, command.name])
    if option in arguments:
        arguments[arguments.index(option) + 1] = path
    elif option:
        arguments += [option, path]
    else:
        arguments = [path if argument == "CHECKPOINT" else argument for argument in arguments]
    return arguments
