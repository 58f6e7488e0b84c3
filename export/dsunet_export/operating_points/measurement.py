"""Export, evaluation and timing of one point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from dsunet.errors import EvaluationError
from dsunet.evaluation.evaluate import mask_folder
from dsunet.evaluation.predictors import open_predictor
from dsunet.evaluation.results import ModelResult as Scored
from dsunet.evaluation.scorer import Scorer, predict_cases
from dsunet.evaluation.test_sets import TestSet
from dsunet.network.model import DSUNet
from dsunet_export.onnx import export_onnx
from dsunet_export.operating_points.points import Point
from dsunet_export.operating_points.results import Accuracy, Timing
from dsunet_export.options import ExportOptions, ExportPrecision, WeightsOrigin
from dsunet_runtime.artifact.manifest import Manifest, MaskForm
from dsunet_runtime.bench.measurement import Schedule, measure_interleaved, warm_up_all
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.workload import Runner, Setting, Workbench
from dsunet_runtime.images.decode import read_rgb
from dsunet_runtime.progress import Progress
from dsunet_runtime.provider import Provider

_SETTING = Setting(Origin.ARRAY, batch=1, streams=1)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The functions that measure a point."""

    export: Callable[[Point, Path], Manifest]
    """Writes the artifact of a point to a path."""
    evaluate: Callable[[Path, Provider], dict[str, Accuracy]]
    """Evaluates an artifact on every dataset."""
    time: Callable[[Runner, Runner], Timing]
    """Times a runner, interleaved with the reference, which is the second."""


def export_point(
    point: Point,
    output: Path,
    load: Callable[[Point], DSUNet],
    origin: WeightsOrigin,
    images: Path | None,
) -> Manifest:
    """Export and verify the artifact of a point; `images` are those to calibrate on.

    Its masks have the paper's form, for the metrics.
    """
    is_reduced = point.precision is not ExportPrecision.FP32
    options = ExportOptions(
        mask_form=MaskForm.STRETCHED,
        precision=point.precision,
        images=images if is_reduced else None,
    )
    return export_onnx(load(point), origin, output, options, lambda step, seconds: None)


def evaluate_artifact(
    artifact: Path, provider: Provider, test_sets: Sequence[TestSet], scorer: Scorer, stream: TextIO
) -> dict[str, Accuracy]:
    """Evaluate an artifact on every dataset, with a progress bar on `stream`.

    Raises EvaluationError if a model fails on an image, or if the S-measure of a dataset is
    undefined.
    """
    found = {}
    with (
        Progress(sum(len(test_set.pairs) for test_set in test_sets), stream) as progress,
        open_predictor(artifact, provider=provider) as predictor,
        mask_folder(None) as masks,
    ):
        for test_set in test_sets:
            cases = predict_cases(predictor, test_set, masks / test_set.name)
            result = Scored.of(artifact.name, scorer.score(cases, progress))
            if result.undefined:
                raise EvaluationError(
                    f"{test_set.name}: the S-measure of {result.undefined[0]} is undefined: the "
                    "centroid of its ground truth is in the last row or column: omit it"
                )
            each = tuple(scored.scores.s_measure for scored in result.scored)
            found[test_set.name] = Accuracy(result.scores.s_measure, result.scores.mae, each)
    return found


def time_against(runner: Runner, reference: Runner, image: Path, schedule: Schedule) -> Timing:
    """Time one image, in rounds in which both are measured, as `dsunet-run bench` does."""
    rgb = read_rgb(image)
    runners = [reference] if runner == reference else [reference, runner]
    with ExitStack() as loaded:
        workloads = [
            loaded.enter_context(Workbench(one, image, rgb, None)).workload(_SETTING)
            for one in runners
        ]
        measurements = warm_up_all(workloads, schedule, lambda line: None)
        measure_interleaved(measurements, schedule, lambda line: None)
    first, last = measurements[0], measurements[-1]
    ratio = last.time_relative_to(first)
    return Timing(
        last.latency.median, ratio.median, ratio.minimum, ratio.maximum, ratio.within_noise
    )
