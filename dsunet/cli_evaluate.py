"""`dsunet evaluate`.  PyTorch, NumPy and py_sod_metrics are imported inside it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.cli_checkpoint import Dinov2File, Sam2File, WeightsKey, notice
from dsunet.device import Device
from dsunet.errors import EvaluationError
from dsunet.evaluation.table_form import TableForm
from dsunet_runtime.command import complain
from dsunet_runtime.command_options import (
    MAX_COUNT,
    MAX_WORKERS,
    as_wrong_usage,
    folder_to_write,
    integer,
)
from dsunet_runtime.file_kinds import is_engine, is_onnx
from dsunet_runtime.provider import Provider

if TYPE_CHECKING:
    from dsunet.evaluation.predictors import Predictor
    from dsunet.evaluation.results import DatasetResults
    from dsunet.evaluation.testsets import TestSet

_WORST = 8


def evaluate(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL_OR_ARTIFACT",
            help="Checkpoints, run folders, ONNX files and engines; the later ones are compared "
            "with the first.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=DIR", help="A dataset as it is published; its test images.  Repeatable."
        ),
    ] = [],  # noqa: B006 - Typer copies it
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images, instead of --dataset.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The true masks, instead of --dataset.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge these masks (STEM.png) instead of a model's."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=folder_to_write,
            help="Also write metrics.json, metrics.csv, images.csv, report.html, table.md and "
            "table.tex.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of the table.")
    ] = False,
    table: Annotated[
        TableForm | None,
        typer.Option(help="The table as papers and pages have it.  [default: text]"),
    ] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=folder_to_write,
            help="Keep the masks: DIR/DATASET/STEM.png, or DIR/MODEL/DATASET/STEM.png.",
        ),
    ] = None,
    worst: Annotated[
        int | None,
        integer(
            low=0,
            high=MAX_COUNT,
            help=f"Images of each dataset that the report shows.  [default: {_WORST}]",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        integer(low=1, high=MAX_COUNT, help="Only the first N images of each dataset."),
    ] = None,
    resize: Annotated[
        bool,
        typer.Option(
            "--resize",
            help="Resample predictions of any other size than their truth's; those that differ by "
            "a few pixels always are.",
        ),
    ] = False,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    device: Annotated[
        Device | None,
        typer.Option(help="Where checkpoints are computed.  [default: auto]", show_default=False),
    ] = None,
    provider: Annotated[
        Provider | None,
        typer.Option(help="What computes ONNX files.  [default: cpu]", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        integer(low=1, high=MAX_WORKERS, help="Processes that score.  [default: one a core]"),
    ] = None,
) -> None:
    """Judge models, or masks that are there already, in the field's metrics.

    S-measure, F-measure (adaptive, mean, maximum, weighted), E-measure (mean, adaptive, maximum),
    MAE, IoU and Dice, by py_sod_metrics; where the paper knows the dataset, its rows stand below.

        dsunet evaluate --predictions masks/ --masks ECSSD/ground_truth_mask

        dsunet evaluate model.pth dsunet.onnx --dataset ECSSD=DIR -o report/

    Exit codes: 0 all is judged, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    models = models or []
    checkpoints = [path for path in models if not (is_onnx(path) or is_engine(path))]
    onnx = [path for path in models if is_onnx(path)]
    _require(
        bool(models) != (predictions is not None),
        "give models to judge, or --predictions, and not both",
    )
    _require(bool(dataset) or masks is not None, "name the truth: --dataset NAME=DIR, or --masks")
    _require(not (dataset and masks), "give --dataset or --masks, and not both")
    _require(masks is not None or images is None, "--images belongs to --masks")
    _require(not (models and masks and not images), "to judge a model, give --images with --masks")
    _require(bool(predictions) or not resize, "--resize is for --predictions")
    _require(not (as_json and table), "give --json or --table, and not both")
    _require(bool(models) or save_masks is None, "--save-masks is for models")
    _require(output is not None or worst is None, "--worst is for the report: give -o DIR too")
    given = (sam2, dinov2, weights, device)
    for_checkpoints = any(option is not None for option in given)
    _require(
        bool(checkpoints) or not for_checkpoints,
        "--sam2, --dinov2, --weights and --device are for checkpoints",
    )
    _require(bool(onnx) or provider is None, "--provider is for ONNX files")
    folders = [named_folder("--dataset", text) for text in dataset]

    from dsunet.evaluation.evaluating import evaluate_models, evaluate_predictions, mask_folder
    from dsunet.evaluation.judging import Judge
    from dsunet.evaluation.paper_table import draw_table
    from dsunet.evaluation.predictors import open_predictor
    from dsunet.evaluation.report import write_report
    from dsunet.evaluation.results import as_document
    from dsunet.evaluation.table import draw
    from dsunet_runtime.jobs import results_folder

    def open_model(path: Path) -> Predictor:
        if path in checkpoints:
            return open_predictor(
                path,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device or Device.AUTO,
                notice=notice,
            )
        predictor = open_predictor(path, provider=provider if path in onnx else None)
        _warn_of_random_weights(path, predictor)
        return predictor

    test_sets = _test_sets(folders, images, masks, predictions, limit)
    with (
        results_folder(output),
        Judge(workers, resize=resize) as judge,
        mask_folder(save_masks) as folder,
    ):
        if predictions is None:
            evaluation = evaluate_models(models, test_sets, open_model, judge, folder, sys.stderr)
        else:
            evaluation = evaluate_predictions(
                predictions, test_sets, judge, sys.stderr, resize=resize
            )
        _complain_of_undefined(evaluation)
        # Before anything is written, so that a full disk does not lose them.
        if as_json:
            print(json.dumps(as_document(evaluation), indent=2), flush=True)
        else:
            print(draw_table(evaluation, table) if table else draw(evaluation), flush=True)
        if output is not None:
            write_report(evaluation, output, _WORST if worst is None else worst)


def _require(holds: bool, line: str) -> None:
    if not holds:
        raise typer.BadParameter(line)


def named_folder(option: str, text: str) -> tuple[str, Path]:
    """What an option NAME=DIR says."""
    name, equals, folder = text.partition("=")
    _require(bool(name and equals and folder), f"{option} {text}: give NAME=DIR")
    return name, Path(folder)


def _test_sets(
    folders: list[tuple[str, Path]],
    images: Path | None,
    masks: Path | None,
    predictions: Path | None,
    limit: int | None,
) -> list[TestSet]:
    from dsunet.evaluation.testsets import TestSet, check_names

    if masks is None:
        found = [TestSet.of_dataset(name, folder) for name, folder in folders]
    elif images is not None:
        found = [TestSet.of_folders(images, masks)]
    elif predictions is not None:
        found = [TestSet.of_predictions(predictions, masks)]
    with as_wrong_usage(EvaluationError):
        check_names(found)
    return [test_set.first(limit) for test_set in found]


def _warn_of_random_weights(path: Path, predictor: Predictor) -> None:
    from dsunet_runtime.segmenter import Segmenter

    if isinstance(predictor, Segmenter) and predictor.manifest.weights_are_random:
        complain("dsunet", f"{path} has randomly initialised weights: its masks are not meaningful")


def _complain_of_undefined(evaluation: list[DatasetResults]) -> None:
    for one in evaluation:
        for result in one.results:
            if math.isnan(result.scores.s_measure):
                stems = result.undefined
                complain(
                    "dsunet",
                    f"{one.test_set.name}: py_sod_metrics gives no S-measure where the centre of "
                    f"the truth lies in the last row or column, as in {stems[0]} "
                    f"({len(stems)} images), and so none of the dataset",
                )
