"""Command lines from the options that commands declare, with values that do not fit."""

from __future__ import annotations

import enum
import shlex
import types
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, get_args, get_origin, get_type_hints

import typer

from tests.fuzz.mutation.byte_changes import change_list

VALID = {
    "dsunet inspect": "own.safetensors",
    "dsunet convert": "own.safetensors -o out.safetensors",
    "dsunet demonstration": "-o out.safetensors",
    "dsunet train": "--dataset scenes --checkpoint own.safetensors --epochs 1 --workers 0 -o out",
    "dsunet distill": "own.safetensors --dataset scenes --preset pico --train-encoders --epochs 1 "
    "--workers 0 -o out",
    "dsunet evaluate": "own.safetensors frames.onnx --dataset scenes=scenes --workers 1",
    "dsunet ablate": "-o out --dataset scenes --test scenes=scenes --preset nano --epochs 1",
    "dsunet explain": "photo.png --checkpoint own.safetensors -o out.png",
    "dsunet generate": "-o out --count 1 --size 64 --workers 1",
    "dsunet-export onnx": "own.safetensors -o out.onnx",
    "dsunet-export trt": "frames.onnx -o out.engine --gpu rtx4090",
    "dsunet-export verify": "frames.onnx frames.onnx --images photos",
    "dsunet-export tune": "own.safetensors --dataset scenes=scenes --dino-size 28 --provider cpu "
    "--seconds 0 --budget 0 -o out",
    "dsunet-export inspect": "frames.onnx",
    "dsunet-export triton": "frames.onnx -o out --name model",
    "dsunet-export deepstream": "frames.onnx -o out --size 32x32",
    "dsunet predict": "own.safetensors clip.mp4 -o out.mp4 --background white --smooth 1",
    "dsunet-run predict": "frames.onnx photos -o out --recursive --cutout --binary otsu",
    "dsunet-run selftest": "frames.onnx",
    "dsunet-run bench": "frames.onnx --seconds 0 --rounds 1 --no-cold-start --image photo.png",
}
"""A short run of each command; `doctor` takes seconds and has no values."""

_FILES = (
    "",
    " ",
    ".",
    "..",
    "/",
    "-",
    "--",
    "~",
    "@",
    "photo.png",
    "clip.mp4",
    "out.mp4",
    "no-such-protocol://x",
    "photos",
    "scenes",
    "own.safetensors",
    "frames.onnx",
    "a.engine",
    "text.txt",
    "empty.onnx",
    "empty",
    "pipe",
    "pipe.onnx",
    "loop",
    "loop.onnx",
    "nowhere",
    "nowhere.png",
    "folder.onnx",
    "no/such/folder/x",
    "text.txt/x",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "x" * 300,
    "x/" * 3000,
    "\x1b[31mred.png",
    "two\nlines.onnx",
    "not-utf8-\udcff.png",
    "timm:\x1b[31m",
    "scenes=",
    "=scenes",
    "a=b=c",
    "@text.txt",
    "@pipe",
    "**/*.png",
    "[",
    "otsu",
    "webp",
    "blur",
    "#20a040",
)
_NUMBERS = (
    "",
    " ",
    "-1",
    "0",
    "1",
    "2",
    "1.5",
    "1e30",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "\u0661\u0662",
    "1_0",
    "+1",
    "--1",
    "9" * 19,
    "9" * 30,
    "9" * 5000,
    "1000000000",
    "1:2",
    "1:2:3:4",
    "1x1",
    "9999999999x9999999999",
    "8.9",
    "dynamic",
    "x",
    "\x1b[31m",
    "1\n2",
    "\udcff",
)
_ALL = (*_FILES, *_NUMBERS)


@dataclass(frozen=True, slots=True)
class Option:
    """An option as the command declares it."""

    flags: tuple[str, ...]
    types: tuple[type, ...]
    """Types of its values, in order; empty for a flag."""


def declared_options(app: typer.Typer) -> Iterator[tuple[str, list[Option]]]:
    """Yield the name of each command of an app with its options."""
    for command in app.registered_commands:
        function = command.callback
        assert function is not None
        options = []
        for name, hint in get_type_hints(function, include_extras=True).items():
            info = getattr(hint, "__metadata__", (None,))[0]
            if isinstance(info, typer.models.OptionInfo):
                flags = tuple(f for f in info.param_decls or () if f.startswith("-"))
                default = f"--{name.replace('_', '-')}"
                options.append(Option(flags or (default,), _types(get_args(hint)[0])))
        yield command.name or function.__name__, options


def _types(hint: Any) -> tuple[type, ...]:
    """The types of an option's values, by its annotation."""
    arguments = [item for item in get_args(hint) if item is not types.NoneType]
    if get_origin(hint) is tuple:
        return tuple(arguments)
    if arguments:
        return _types(arguments[0])
    return () if hint is bool else (hint,)


def draw_arguments(random: Random, valid: str, options: list[Option]) -> list[str]:
    """Change some values, options or words of a valid command line."""
    arguments = shlex.split(valid)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        match random.randrange(6):
            case 0:
                arguments = change_list(random, arguments)
            case 1 if arguments:
                arguments[random.randrange(len(arguments))] = random.choice(_ALL)
            case 2 if random.random() < 0.3:
                arguments.append(random.choice(("--no-such", "-\x1b[31m", "--", "--help", "-oxv")))
            case _:
                arguments += _option(random, random.choice(options))
    return arguments


def _option(random: Random, option: Option) -> list[str]:
    """Return the option with values that mostly fit its types."""
    flag = random.choice(option.flags)
    values = [_value(random, kind) for kind in option.types]
    if len(values) == 1 and flag.startswith("--") and random.random() < 0.3:
        return [f"{flag}={values[0]}"]
    return [flag, *values]


def _value(random: Random, kind: type) -> str:
    if issubclass(kind, enum.Enum) and random.random() < 0.7:
        return str(random.choice(list(kind)))
    if random.random() < 0.2:
        return random.choice(_ALL)
    return random.choice(_NUMBERS if kind in (int, float) else _FILES)
