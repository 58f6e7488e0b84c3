"""The command `dsunet evaluate`.  It imports PyTorch, NumPy and py_sod_metrics late."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet.commands.checkpoint_options import Dinov2File, Sam2File, WeightsKey, notice
from dsunet.commands.help_panels import COMPUTATION, DATA
from dsunet.commands.named_folder import named_folder
from dsunet.errors import EvaluationError
from dsunet.evaluation.table_format import TableFormat
from dsunet.torch_device import TorchDevice
from dsunet_runtime.artifact.file_kinds import is_engine, is_onnx
from dsunet_runtime.artifact.manifest import InputForm, MaskForm
from dsunet_runtime.commands.app import complain, examples
from dsunet_runtime.commands.artifact_options import (
    check_fallback_applies,
    cpu_fallback_option,
    selftest_option,
)
from dsunet_runtime.commands.options import (
    MAX_COUNT,
    MAX_WORKERS,
    OUTPUT,
    as_wrong_usage,
    folder_to_write,
    integer,
    output_folder,
)
from dsunet_runtime.message_text import counted
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.policy import SelfTestPolicy

if TYPE_CHECKING:
    from dsunet.evaluation.predictors import Predictor
    from dsunet.evaluation.results import DatasetResults
    from dsunet.evaluation.test_sets import TestSet

_WORST = 8

EXAMPLES = examples(
    "dsunet evaluate model.pth dsunet.onnx --dataset ECSSD=ECSSD -o report/",
    "dsunet evaluate --predictions masks/ --masks ECSSD/ground_truth_mask",
)


def evaluate(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL_OR_ARTIFACT",
            help="Checkpoints, run folders, ONNX files or engines; the first is the reference for "
            "differences.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]DIR",
            help="Dataset in its published folder layout; its test images are evaluated.  "
            "NAME is that of the folder unless given.  Repeatable.",
            rich_help_panel=DATA,
        ),
    ] = [],  # noqa: B006 - Typer copies it
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of images, instead of --dataset.", rich_help_panel=DATA
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of ground-truth masks, instead of --dataset.",
            rich_help_panel=DATA,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of predicted masks (STEM.png) to evaluate instead of a model.",
            rich_help_panel=DATA,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_folder(
            "Folder for metrics.json, metrics.csv, images.csv, report.html, table.md and "
            "table.tex.  [default: print only]"
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object instead of the table.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    table: Annotated[
        TableFormat | None,
        typer.Option(
            help="Print the table as Markdown or LaTeX.  [default: plain text]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=folder_to_write,
            help="Save the masks as DIR/DATASET/STEM.png, or with several models as "
            "DIR/MODEL/DATASET/STEM.png.  [default: not saved]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    worst: Annotated[
        int | None,
        integer(
            low=0,
            high=MAX_COUNT,
            help="Number of images with the lowest S-measure that the report shows for each "
            f"dataset.  [default: {_WORST}]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Evaluate only the first N images of each dataset.  [default: all]",
            rich_help_panel=DATA,
        ),
    ] = None,
    resize: Annotated[
        bool,
        typer.Option(
            "--resize",
            help="Resample predictions of any size to that of the ground truth.  Those that differ "
            "by a few pixels are always resampled.",
            rich_help_panel=DATA,
        ),
    ] = False,
    sam2: Sam2File = None,
    dinov2: Dinov2File = None,
    weights: WeightsKey = None,
    device: Annotated[
        TorchDevice | None,
        typer.Option(
            help="Device for checkpoints; auto is CUDA if available, else the CPU.  "
            "[default: auto]",
            show_default=False,
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
    provider: Annotated[
        Provider | None,
        typer.Option(
            help="ONNX Runtime's execution provider, or OpenVINO, for ONNX files.  [default: cpu]",
            show_default=False,
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
    allow_cpu_fallback: Annotated[bool, cpu_fallback_option(COMPUTATION)] = False,
    selftest: Annotated[SelfTestPolicy, selftest_option(COMPUTATION)] = SelfTestPolicy.AUTO,
    workers: Annotated[
        int | None,
        integer(
            low=1,
            high=MAX_WORKERS,
            help="Number of processes that compute the metrics.  [default: one per core]",
            rich_help_panel=COMPUTATION,
        ),
    ] = None,
) -> None:
    """Evaluate models or saved masks against ground truth.

    Metrics: S-measure, F-measure (adaptive, mean, maximum, weighted), E-measure (mean, adaptive,
    maximum), MAE, IoU and Dice, computed by py_sod_metrics.  For datasets of the paper, the table
    also has its published rows.
    """
    models = models or []
    checkpoints = [path for path in models if not (is_onnx(path) or is_engine(path))]
    onnx = [path for path in models if is_onnx(path)]
    _require(
        bool(models) != (predictions is not None),
        "give either models to evaluate or --predictions",
    )
    _require(
        bool(dataset) or masks is not None,
        "give the ground truth: --dataset DIR or --masks DIR",
    )
    _require(not (dataset and masks), "give either --dataset or --masks")
    _require(masks is not None or images is None, "--images needs --masks")
    _require(
        not (models and masks and not images), "to evaluate a model, give --images with --masks"
    )
    _require(bool(predictions) or not resize, "--resize applies to --predictions only")
    _require(not (as_json and table), "give either --json or --table")
    _require(bool(models) or save_masks is None, "--save-masks applies to models only")
    _require(output is not None or worst is None, "--worst needs a report: give -o DIR too")
    checkpoint_options = (sam2, dinov2, weights, device)
    _require(
        bool(checkpoints) or all(option is None for option in checkpoint_options),
        "--sam2, --dinov2, --weights and --device apply to checkpoints only",
    )
    _require(bool(onnx) or provider is None, "--provider applies to ONNX files only")
    check_fallback_applies([provider], allow_cpu_fallback)
    folders = [named_folder("--dataset", text) for text in dataset]

    from dsunet.evaluation.evaluate import evaluate_models, evaluate_predictions, mask_folder
    from dsunet.evaluation.predictors import open_predictor
    from dsunet.evaluation.report_files import write_report
    from dsunet.evaluation.scorer import Scorer
    from dsunet_runtime.prediction.jobs import results_folder

    def open_model(path: Path) -> Predictor:
        if path in checkpoints:
            return open_predictor(
                path,
                sam2=sam2,
                dinov2=dinov2,
                weights=weights,
                device=device or TorchDevice.AUTO,
                notice=notice,
            )
        predictor = open_predictor(
            path,
            provider=provider if path in onnx else None,
            selftest=selftest,
            allow_cpu_fallback=allow_cpu_fallback and path in onnx,
        )
        _warn_of_masks(path, predictor)
        return predictor

    test_sets = _test_sets(folders, images, masks, predictions, limit)
    with (
        results_folder(output),
        Scorer(workers, resize=resize) as scorer,
        mask_folder(save_masks) as folder,
    ):
        if predictions is None:
            evaluation = evaluate_models(models, test_sets, open_model, scorer, folder, sys.stderr)
        else:
            evaluation = evaluate_predictions(
                predictions, test_sets, scorer, sys.stderr, resize=resize
            )
        _warn_of_undefined(evaluation)
        # Printed before anything is written, so that a full disk does not lose them.
        _print_results(evaluation, table, as_json=as_json)
        if output is not None:
            write_report(evaluation, output, _WORST if worst is None else worst)


def _require(holds: bool, line: str) -> None:
    if not holds:
        raise typer.BadParameter(line)


def _test_sets(
    folders: list[tuple[str, Path]],
    images: Path | None,
    masks: Path | None,
    predictions: Path | None,
    limit: int | None,
) -> list[TestSet]:
    from dsunet.evaluation.test_sets import TestSet, check_dataset_names

    if masks is None:
        test_sets = [TestSet.of_dataset(name, folder) for name, folder in folders]
    elif images is not None:
        test_sets = [TestSet.of_folders(images, masks)]
    elif predictions is not None:
        test_sets = [TestSet.of_predictions(predictions, masks)]
    with as_wrong_usage(EvaluationError):
        check_dataset_names(test_sets)
    return [test_set.first(limit) for test_set in test_sets]


def _print_results(
    evaluation: list[DatasetResults], table: TableFormat | None, *, as_json: bool
) -> None:
    from dsunet.evaluation.paper_table import format_paper_table
    from dsunet.evaluation.results import results_document
    from dsunet.evaluation.table import format_table

    if as_json:
        text = json.dumps(results_document(evaluation), indent=2)
    elif table is not None:
        text = format_paper_table(evaluation, table)
    else:
        text = format_table(evaluation)
    print(text, flush=True)


def _warn_of_masks(path: Path, predictor: Predictor) -> None:
    from dsunet_runtime.segmenter import Segmenter

    if not isinstance(predictor, Segmenter):
        return
    manifest = predictor.manifest
    if manifest.weights_are_random:
        complain("dsunet", f"{path} has randomly initialised weights: its masks are not meaningful")
    if (manifest.input_form, manifest.mask_form) == (InputForm.FRAMES, MaskForm.PROBABILITY):
        complain(
            "dsunet",
            f"{path}: its masks are probabilities in 8 bits, which the metrics stretch after that "
            "rounding, unlike the paper: for comparable metrics, export it with --mask stretched",
        )


def _warn_of_undefined(evaluation: list[DatasetResults]) -> None:
    for dataset in evaluation:
        for result in dataset.results:
            if math.isnan(result.scores.s_measure):
                stems = result.undefined
                complain(
                    "dsunet",
                    f"{dataset.test_set.name}: the S-measure is undefined: py_sod_metrics returns "
                    "NaN where the centroid of the ground truth is in the last row or column, as "
                    f"in {stems[0]} ({counted(len(stems), 'image')})",
                )
