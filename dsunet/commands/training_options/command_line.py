"""Add the options of a training run to a command, and read them from its command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import typer

from dsunet.commands.training_options.computation import ComputationOptions
from dsunet.commands.training_options.data import DataOptions
from dsunet.commands.training_options.model import ModelOptions
from dsunet.commands.training_options.optimization import OptimizationOptions
from dsunet.commands.training_options.output import OutputOptions
from dsunet.commands.training_options.validation import ValidationOptions
from dsunet.errors import ConfigError, TrainingError
from dsunet.network.config import DSUNetConfig
from dsunet.training.options import TrainingOptions
from dsunet.training.run_folder import RunFolder
from dsunet.training.tensorboard import check_tensorboard_folder
from dsunet_runtime.commands.options import as_wrong_usage

_GROUPS: tuple[type, ...] = (
    OutputOptions,
    DataOptions,
    ModelOptions,
    OptimizationOptions,
    ComputationOptions,
    ValidationOptions,
)
"""The options by panel, in the order of the help texts."""


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `_GROUPS` to a command.

    The command receives those on the command line as `given`, a mapping from the names of
    `TrainingOptions` to values, and Typer's context as `ctx`.
    """
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["given"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=getattr(group, name), annotation=annotation)
        for group in _GROUPS
        for name, annotation in get_type_hints(group, include_extras=True).items()
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        options = {one.name: values.pop(one.name) for one in added}
        given = {name: value for name, value in options.items() if is_given(values["ctx"], name)}
        command(**values, given=given)

    parameters = [*(one.replace(kind=keyword) for one in own.values()), *added]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def options_from(given: dict[str, Any]) -> TrainingOptions:
    """Make the training options from those on the command line; a conflict is wrong usage."""
    preset = given.pop("preset", None)
    parts = {name: given.pop(name) for name in ("injection", "decoder") if name in given}
    with as_wrong_usage(ConfigError, TrainingError):
        if preset is not None or parts:
            if "checkpoint" in given and preset is None:
                option = next(iter(parts))
                raise typer.BadParameter(f"--checkpoint determines the {option}: omit --{option}")
            config = DSUNetConfig.preset(preset or "large").replace(**parts)
            config.resized(hiera_size=given.get("hiera_size"), dino_size=given.get("dino_size"))
            given["config"] = config
        if "datasets" in given:
            given["datasets"] = tuple(given["datasets"])
        options = TrainingOptions(**given)
        if options.tensorboard:
            check_tensorboard_folder(options.output)
        return options


@contextmanager
def interruption_with_resume_command(folder: Path) -> Iterator[None]:
    """Add the command that resumes the run to an interruption, if its folder exists already."""
    try:
        yield
    except KeyboardInterrupt:
        if RunFolder(folder).config.exists():
            raise KeyboardInterrupt(f"resume with dsunet train --resume {folder}") from None
        raise
