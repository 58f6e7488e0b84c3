"""The command `dsunet ablate`: the paper's ablation table on any dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dsunet.commands.help_panels import DATA
from dsunet.commands.named_folder import named_folder
from dsunet.commands.train import train
from dsunet.commands.training_options.command_line import is_given, options_from
from dsunet.errors import EvaluationError
from dsunet.training.options import TrainingOptions
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import OUTPUT, as_wrong_usage, output_folder
from dsunet_runtime.plain_values import decode, encode

_SET_BY_ABLATE = ("resume", "injection", "checkpoint")
"""Options of `dsunet train` that differ among the networks."""

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of the command: options that it does not define go to `dsunet train`."""

EXAMPLES = examples(
    "dsunet ablate -o ablation --test CAMO=CAMO --dataset COD10K --sam2 FILE --dinov2 FILE"
)


def ablate(
    ctx: typer.Context,
    output: Annotated[
        Path,
        output_folder("Folder for the four runs and the report."),
    ],
    test: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]DIR",
            help="Dataset to evaluate on, in its published folder layout.  NAME is that of the "
            "folder unless given.  Repeatable.",
            rich_help_panel=DATA,
        ),
    ],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object instead of the table.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Train and evaluate the paper's ablation networks.

    Trains four networks that differ in --injection only (the paper's DSU-Net and its ablations A,
    B and C) and prints their metrics in one table.  All other options are those of `dsunet train`
    and apply to all four.

    To resume an interrupted ablation, run the same command again: finished networks are not
    trained again.  DIR/report holds the files that `dsunet evaluate -o` writes.
    """
    options = _training_options(ctx, output)
    folders = [named_folder("--test", text) for text in test]

    from dsunet.ablation.ablate import ablate as run
    from dsunet.ablation.ablation_table import format_ablation_table
    from dsunet.evaluation.results import results_document
    from dsunet.evaluation.test_sets import TestSet, check_dataset_names

    test_sets = [TestSet.of_dataset(name, folder) for name, folder in folders]
    with as_wrong_usage(EvaluationError):
        check_dataset_names(test_sets)
    evaluation = run(options, test_sets, sys.stderr)
    print(
        json.dumps(results_document(evaluation), indent=2)
        if as_json
        else format_ablation_table(evaluation)
    )


def _training_options(own: typer.Context, output: Path) -> TrainingOptions:
    """Parse the remaining options with the command `dsunet train` itself."""
    alone = typer.Typer(add_completion=False)
    alone.command()(train)
    ctx: Any = typer.main.get_command(alone).make_context("train", own.args, parent=own.parent)
    given = {name: value for name, value in ctx.params.items() if is_given(ctx, name)}
    if wrong := sorted(given.keys() & {*_SET_BY_ABLATE}):
        names = ", ".join(f"--{name}" for name in wrong)
        raise typer.BadParameter(f"dsunet ablate sets {names} for each network: omit {names}")
    options = options_from({**given, "output": output})
    # Older versions of Typer leave paths and choices as text here.
    return decode(TrainingOptions, encode(options), exact=True)
