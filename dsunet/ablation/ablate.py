"""Train and evaluate the four networks of the ablation study with the same options.

Each network has its own run folder in that of the ablation, as `dsunet train` writes it, so that an
interrupted ablation can be resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from dsunet.ablation.variant import Variant
from dsunet.errors import TrainingError
from dsunet.evaluation.evaluate import check_test_sets, evaluate_models, mask_folder
from dsunet.evaluation.predictors import Predictor, open_predictor
from dsunet.evaluation.report_files import write_report
from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.scorer import Scorer
from dsunet.evaluation.test_sets import TestSet
from dsunet.training import TrainingOptions, resume, train
from dsunet.training.progress_report import ProgressReport
from dsunet.training.run_folder import RunFolder
from dsunet.training.state import saved_position

_WORST = 8
"""Number of masks with the lowest S-measure in the report."""


def ablate(
    options: TrainingOptions, test_sets: Sequence[TestSet], stream: TextIO
) -> list[DatasetResults]:
    """Train and evaluate the four networks, and write the report to `options.output`/report.

    Finished networks are not trained again, and interrupted ones are resumed.

    Args:
        options: Options of all four runs; `output` is the folder of the ablation.
        test_sets: Datasets to evaluate on.
        stream: Stream for progress.

    Returns:
        One entry per dataset.

    Raises:
        TrainingError: The folder has runs with other options or other data.
        DSUNetError: The errors of training and evaluation.
    """
    runs = {variant: variant.options(options) for variant in Variant}
    for run in runs.values():
        _check_options(run)
    waiting = [variant for variant, run in runs.items() if not _is_finished(run)]
    if waiting:  # check the test sets before hours of training
        check_test_sets(test_sets, stream)
    for variant in waiting:
        print(f"{variant}: injection {variant.injection}", file=stream, flush=True)
        _train_on(runs[variant], ProgressReport(stream))
    _check_data(runs.values())
    return _evaluate(runs, test_sets, options.output / "report", stream)


def open_trained(run: TrainingOptions) -> Predictor:
    """Open the network of a finished run, with the encoders that it was trained with."""
    checkpoint, device = RunFolder(run.output).checkpoint, run.device
    if run.save_all or run.train_encoders:
        return open_predictor(checkpoint, device=device)
    return open_predictor(checkpoint, sam2=run.sam2, dinov2=run.dinov2, device=device)


def _check_options(run: TrainingOptions) -> None:
    """Raise TrainingError if the run was started with other options."""
    folder = RunFolder(run.output)
    if not folder.config.exists():
        return
    started = folder.read_config().options
    run = run.absolute()
    fields = [field.name for field in dataclasses.fields(run) if field.name != "output"]
    names = sorted(name for name in fields if getattr(started, name) != getattr(run, name))
    if names:
        raise TrainingError(
            f"{run.output} was started with other options ({', '.join(names)}): give the same "
            "options, or another folder"
        )


def _is_finished(run: TrainingOptions) -> bool:
    """Whether the saved state, which is written after the checkpoint, is at the last epoch."""
    folder = RunFolder(run.output)
    if not (folder.state.exists() and folder.checkpoint.exists()):
        return False
    return saved_position(folder.state, folder.read_config().run).epoch >= run.epochs


def _train_on(run: TrainingOptions, report: ProgressReport) -> None:
    if RunFolder(run.output).config.exists():
        resume(run.output, report)
    else:
        train(run, report)


def _check_data(runs: Iterable[TrainingOptions]) -> None:
    """Raise TrainingError if the networks were trained on different images or masks."""
    data = {run.output: RunFolder(run.output).read_config().data.sha256 for run in runs}
    first, *others = data
    for other in others:
        if data[other] != data[first]:
            raise TrainingError(
                f"{other} was trained on other images or masks than {first}: remove the outdated "
                "one to train it again"
            )


def _evaluate(
    runs: dict[Variant, TrainingOptions], test_sets: Sequence[TestSet], folder: Path, stream: TextIO
) -> list[DatasetResults]:
    checkpoints = {RunFolder(run.output).checkpoint: run for run in runs.values()}

    def open_model(path: Path) -> Predictor:
        return open_trained(checkpoints[path])

    with Scorer() as scorer, mask_folder(None) as masks:
        evaluation = evaluate_models([*checkpoints], test_sets, open_model, scorer, masks, stream)
        named = [
            dataclasses.replace(
                dataset,
                results=[
                    dataclasses.replace(result, model=variant.value)
                    for variant, result in zip(runs, dataset.results, strict=True)
                ],
            )
            for dataset in evaluation
        ]
        write_report(named, folder, _WORST)
    return named
