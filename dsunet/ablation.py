"""The paper's ablation (its tables VII and VIII) on any dataset: four networks, trained alike.

Each network has a run folder of its own, as `dsunet train` makes it, in the folder of the ablation,
so that an ablation that was interrupted goes on where it was.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from dsunet.config import DSUNetConfig, Injection
from dsunet.errors import TrainingError
from dsunet.evaluation.evaluating import check_test_sets, evaluate_models, mask_folder
from dsunet.evaluation.judging import Judge
from dsunet.evaluation.predictors import Predictor, open_predictor
from dsunet.evaluation.published import known_dataset, published_rows
from dsunet.evaluation.report import write_report
from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.table import in_digits
from dsunet.evaluation.testsets import TestSet
from dsunet.training import TrainingOptions, resume, train
from dsunet.training.folder import RunFolder
from dsunet.training.report import Report
from dsunet.training.state import saved_position

COLUMNS = {"s_measure": "S", "f_adaptive": "F", "e_mean": "E", "mae": "M"}
"""The paper's columns; `evaluation.published` says why these F and E."""

_TABLES = ("VII", "VIII")
_WORST = 8
_LABEL, _CELL = 9, 8
_NOTE = "F: adaptive, E: mean."
_NOTE_ON_PAPER = "  paper: its Tables VII and VIII."


class Variant(enum.StrEnum):
    """The networks, by their names in the paper."""

    A = "A"
    B = "B"
    C = "C"
    DSU_NET = "DSU-Net"

    @property
    def injection(self) -> Injection:
        """What tells it from the others."""
        return {
            Variant.A: Injection.NONE,
            Variant.B: Injection.LEVELS,
            Variant.C: Injection.ALL,
            Variant.DSU_NET: Injection.LAST,
        }[self]

    def options(self, options: TrainingOptions) -> TrainingOptions:
        """Its run, in a folder below `options.output`; for A without what concerns DINOv2."""
        config = (options.config or DSUNetConfig()).replace(injection=self.injection)
        own = dataclasses.replace(options, output=options.output / self.value, config=config)
        if config.injection.hiera_levels:
            return own
        return dataclasses.replace(own, dinov2=None, cache=None)


def ablate(
    options: TrainingOptions, test_sets: Sequence[TestSet], stream: TextIO
) -> list[DatasetResults]:
    """Train the four networks, judge them, and write the report into `options.output`/report.

    A network that was trained before is not trained again, and one that was interrupted goes on.
    Says on `stream` what it does.  Raises TrainingError if the folder has runs with other options
    or of other data, and what training and evaluation raise.
    """
    runs = {variant: variant.options(options) for variant in Variant}
    for run in runs.values():
        _refuse_other_options(run)
    waiting = [variant for variant, run in runs.items() if not _is_finished(run)]
    if waiting:  # hours: nothing may be found wrong with the test sets after them
        check_test_sets(test_sets, stream)
    for variant in waiting:
        print(f"{variant}: injection {variant.injection}", file=stream, flush=True)
        _train_on(runs[variant], Report(stream))
    _refuse_other_data(runs.values())
    return _judge(runs, test_sets, options.output / "report", stream)


def open_trained(run: TrainingOptions) -> Predictor:
    """The network that a run trained, with the encoders that it was trained on."""
    checkpoint, device = RunFolder(run.output).checkpoint, run.device
    if run.save_all or run.train_encoders:
        return open_predictor(checkpoint, device=device)
    return open_predictor(checkpoint, sam2=run.sam2, dinov2=run.dinov2, device=device)


def draw(evaluation: Sequence[DatasetResults]) -> str:
    """The table: a row for each network, the paper's under it, and the datasets side by side."""
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
    """Raise TrainingError if the run was begun with other options than these."""
    folder = RunFolder(run.output)
    if not folder.config.exists():
        return
    begun = TrainingOptions.from_dict(folder.read_config()["options"])
    run = run.absolute()
    fields = [field.name for field in dataclasses.fields(run) if field.name != "output"]
    names = sorted(name for name in fields if getattr(begun, name) != getattr(run, name))
    if names:
        raise TrainingError(
            f"{run.output} was begun with other options ({', '.join(names)}): give the same again, "
            "or name another folder"
        )


def _is_finished(run: TrainingOptions) -> bool:
    """Whether the last epoch is in the state, which is written after its checkpoint."""
    folder = RunFolder(run.output)
    if not (folder.state.exists() and folder.checkpoint.exists()):
        return False
    return saved_position(folder.state, folder.read_config()["run"]).epoch >= run.epochs


def _train_on(run: TrainingOptions, report: Report) -> None:
    if RunFolder(run.output).config.exists():
        resume(run.output, report)
    else:
        train(run, report)


def _refuse_other_data(runs: Iterable[TrainingOptions]) -> None:
    """Raise TrainingError if the networks saw different images or masks."""
    data = {run.output: RunFolder(run.output).read_config()["data"]["sha256"] for run in runs}
    first, *others = data
    for other in others:
        if data[other] != data[first]:
            raise TrainingError(
                f"{other} was trained on other images or masks than {first}: remove the one that "
                "is out of date, and it is trained anew"
            )


def _judge(
    runs: dict[Variant, TrainingOptions], test_sets: Sequence[TestSet], folder: Path, stream: TextIO
) -> list[DatasetResults]:
    checkpoints = {RunFolder(run.output).checkpoint: run for run in runs.values()}

    def open_model(path: Path) -> Predictor:
        return open_trained(checkpoints[path])

    with Judge() as judge, mask_folder(None) as masks:
        found = evaluate_models([*checkpoints], test_sets, open_model, judge, masks, stream)
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
    """The paper's figures, if it has the dataset in one of its ablation tables."""
    dataset = known_dataset(one.test_set.name)
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
