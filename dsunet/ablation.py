"""The paper's ablation study (tables VII and VIII) on any dataset: four networks, trained alike.

Each network has its own run folder, as of `dsunet train`, in the folder of the ablation, so that an
interrupted ablation can be resumed.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from dsunet.errors import TrainingError
from dsunet.evaluation.evaluate import check_test_sets, evaluate_models, mask_folder
from dsunet.evaluation.predictors import Predictor, open_predictor
from dsunet.evaluation.published import known_dataset, published_rows
from dsunet.evaluation.report_files import write_report
from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.scorer import Scorer
from dsunet.evaluation.table import in_digits
from dsunet.evaluation.testsets import TestSet
from dsunet.network.config import DSUNetConfig, Injection
from dsunet.training import TrainingOptions, resume, train
from dsunet.training.folder import RunFolder
from dsunet.training.progress_report import ProgressReport
from dsunet.training.state import saved_position

COLUMNS = {"s_measure": "S", "f_adaptive": "F", "e_mean": "E", "mae": "M"}
"""The paper's columns; `evaluation.published` explains the choice of F and E."""

_TABLES = ("VII", "VIII")
_WORST = 8
_LABEL, _CELL = 9, 8
_NOTE = "F: adaptive, E: mean."
_NOTE_ON_PAPER = "  paper: its Tables VII and VIII."


class Variant(enum.StrEnum):
    """The networks of the ablation, by their names in the paper."""

    A = "A"
    B = "B"
    C = "C"
    DSU_NET = "DSU-Net"

    @property
    def injection(self) -> Injection:
        """The injection, in which the networks differ."""
        return {
            Variant.A: Injection.NONE,
            Variant.B: Injection.LEVELS,
            Variant.C: Injection.ALL,
            Variant.DSU_NET: Injection.LAST,
        }[self]

    def options(self, options: TrainingOptions) -> TrainingOptions:
        """The options of its run, in a subfolder of `options.output`; A has none for DINOv2."""
        config = (options.config or DSUNetConfig()).replace(injection=self.injection)
        own = dataclasses.replace(options, output=options.output / self.value, config=config)
        if config.injection.hiera_levels:
            return own
        return dataclasses.replace(own, dinov2=None, cache=None)


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
        _refuse_other_options(run)
    waiting = [variant for variant, run in runs.items() if not _is_finished(run)]
    if waiting:  # check the test sets before hours of training
        check_test_sets(test_sets, stream)
    for variant in waiting:
        print(f"{variant}: injection {variant.injection}", file=stream, flush=True)
        _train_on(runs[variant], ProgressReport(stream))
    _refuse_other_data(runs.values())
    return _evaluate(runs, test_sets, options.output / "report", stream)


def open_trained(run: TrainingOptions) -> Predictor:
    """Open the network of a finished run, with the encoders that it was trained with."""
    checkpoint, device = RunFolder(run.output).checkpoint, run.device
    if run.save_all or run.train_encoders:
        return open_predictor(checkpoint, device=device)
    return open_predictor(checkpoint, sam2=run.sam2, dinov2=run.dinov2, device=device)


def draw(evaluation: Sequence[DatasetResults]) -> str:
    """Format the table: each network, with the paper's row below; datasets are side by side."""
    widths = [max(_CELL * len(COLUMNS), len(one.title)) + 2 for one in evaluation]
    lines = [
        _line("", [f"  {one.title}" for one in evaluation], widths),
        _line("", [_cells(COLUMNS.values())] * len(evaluation), widths),
    ]
    note = _NOTE
    for variant in Variant:
        ours = [_figures(_scores(one, variant), 4) for one in evaluation]
        lines.append(_line(variant, ours, widths))
        rows = [_published(one, variant) for one in evaluation]
        if any(rows):
            theirs = [_figures(row, 3) if row else "" for row in rows]
            lines.append(_line("  paper", theirs, widths))
            note = _NOTE + _NOTE_ON_PAPER
    return "\n".join([*lines, "", note])


def _refuse_other_options(run: TrainingOptions) -> None:
    """Raise TrainingError if the run was started with other options."""
    folder = RunFolder(run.output)
    if not folder.config.exists():
        return
    begun = folder.read_config().options
    run = run.absolute()
    fields = [field.name for field in dataclasses.fields(run) if field.name != "output"]
    names = sorted(name for name in fields if getattr(begun, name) != getattr(run, name))
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


def _refuse_other_data(runs: Iterable[TrainingOptions]) -> None:
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
        found = evaluate_models([*checkpoints], test_sets, open_model, scorer, masks, stream)
        named = [
            dataclasses.replace(
                one,
                results=[
                    dataclasses.replace(result, model=variant.value)
                    for variant, result in zip(runs, one.results, strict=True)
                ],
            )
            for one in found
        ]
        write_report(named, folder, _WORST)
    return named


def _scores(one: DatasetResults, variant: Variant) -> dict[str, float | None]:
    scores = next(result.scores for result in one.results if result.model == variant)
    return {name: getattr(scores, name) for name in COLUMNS}


def _published(one: DatasetResults, variant: Variant) -> dict[str, float | None] | None:
    """The paper's values, if its ablation tables have the dataset and these are all its images."""
    dataset = None if one.incomparable else known_dataset(one.test_set.name)
    for row in published_rows():
        if (row.dataset, row.method) == (dataset, variant) and row.table in _TABLES:
            return row.figures
    return None


def _figures(figures: Mapping[str, float | None], digits: int) -> str:
    return _cells(in_digits(figures[name], digits) for name in COLUMNS)


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>{_CELL}}" for text in texts)


def _line(label: str, groups: Sequence[str], widths: Sequence[int]) -> str:
    cells = "".join(f"{group:{width}}" for group, width in zip(groups, widths, strict=True))
    return f"{label:{_LABEL}}{cells}".rstrip()
