"""Evaluation of masks: metrics from files, by this project and by a loop over py_sod_metrics.

Conditions: predictions and ground truth as PNG files of 400×300, blobs with soft and noisy edges
from one seed, read from a warm page cache.  The variants are interleaved; each round starts with
another one, and the first round is not counted:

loop     one process: reading by OpenCV, and the `step` methods of py_sod_metrics
single   `score_case` in this process, which shares the normalisation between metrics
scorer   `Scorer` with one process per core, started before; its start-up is reported separately

The results of all three must be identical to the last digit.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics as sod
from common import add_rounds_option, make_parser, ratio, summaries, summary, write
from scipy.ndimage import gaussian_filter

from dsunet.evaluation.metrics import Scores, summarize
from dsunet.evaluation.scorer import Scorer, score_case
from dsunet.evaluation.test_sets import Case
from dsunet_runtime.progress import Progress

SHAPE = (300, 400)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--pairs",
        type=int,
        default=300,
        help="Number of predictions with ground truth (default: %(default)s).",
    )
    add_rounds_option(parser, 5)
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="Processes of `scorer` (default: one per core).",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = write_cases(Path(folder), arguments.pairs)
        start = time.perf_counter()
        with Scorer(arguments.workers) as scorer:
            in_processes(scorer, cases[: arguments.workers])
            opening = time.perf_counter() - start
            variants: dict[str, Callable[[], Scores]] = {
                "loop": lambda: loop(cases),
                "single": lambda: single(cases),
                "scorer": lambda: in_processes(scorer, cases),
            }
            times: dict[str, list[float]] = {name: [] for name in variants}
            for counted in range(-1, arguments.rounds):
                order = [*variants][counted % 3 :] + [*variants][: counted % 3]
                found = {}
                for name in order:
                    start = time.perf_counter()
                    found[name] = variants[name]()
                    if counted >= 0:
                        times[name].append(time.perf_counter() - start)
                if not found["loop"] == found["single"] == found["scorer"]:
                    raise SystemExit(f"the figures are not the same: {found}")

    for name, seconds in times.items():
        figures = summary(seconds)
        rate = arguments.pairs / figures["median_s"]
        print(f"{name:8}{rate:8.1f} images/s  ({min(seconds):.2f} to {max(seconds):.2f} s)")
    write(
        "evaluation_cpu",
        {
            "pairs": arguments.pairs,
            "shape": SHAPE,
            "workers": arguments.workers,
            "opening_s": opening,
            "times": summaries(times),
            "images_per_second": {
                name: arguments.pairs / summary(seconds)["median_s"]
                for name, seconds in times.items()
            },
            "single_over_loop": ratio(times["single"], times["loop"]),
            "scorer_over_loop": ratio(times["scorer"], times["loop"]),
        },
    )


def write_cases(folder: Path, count: int) -> list[Case]:
    """Write ground truth with an object in the middle, and predictions that cover most of it."""
    generator = np.random.default_rng(0)
    cases = []
    for index in range(count):
        field = gaussian_filter(generator.standard_normal(SHAPE), 30)
        ground_truth = np.where(field > np.quantile(field, 0.8), 255, 0).astype(np.uint8)
        ground_truth[-2:] = ground_truth[:, -2:] = 0
        soft = gaussian_filter(ground_truth.astype(float), 4) + generator.normal(0, 8, SHAPE)
        case = Case(f"{index}", None, folder / f"{index}_p.png", folder / f"{index}_t.png")
        cv2.imwrite(str(case.prediction), np.clip(soft, 0, 255).astype(np.uint8))
        cv2.imwrite(str(case.ground_truth), ground_truth)
        cases.append(case)
    return cases


def loop(cases: list[Case]) -> Scores:
    s, e, mae, weighted = sod.Smeasure(), sod.Emeasure(), sod.MAE(), sod.WeightedFmeasure()
    binary = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
    thresholded = sod.FmeasureV2(
        {
            "f": sod.FmeasureHandler(with_dynamic=True, with_adaptive=True),
            "precision": sod.PrecisionHandler(with_dynamic=True, with_adaptive=False),
            "recall": sod.RecallHandler(with_dynamic=True, with_adaptive=False),
            "iou": sod.IOUHandler(**binary),
            "dice": sod.DICEHandler(**binary),
        }
    )
    for case in cases:
        prediction = cv2.imread(str(case.prediction), cv2.IMREAD_GRAYSCALE)
        ground_truth = cv2.imread(str(case.ground_truth), cv2.IMREAD_GRAYSCALE)
        for measure in (s, e, mae, weighted, thresholded):
            measure.step(pred=prediction, gt=ground_truth)
    em, found = e.get_results()["em"], thresholded.get_results()
    return Scores(
        s_measure=s.get_results()["sm"],
        f_adaptive=found["f"]["adaptive"],
        f_mean=found["f"]["dynamic"].mean(),
        f_max=found["f"]["dynamic"].max(),
        f_weighted=weighted.get_results()["wfm"],
        e_mean=em["curve"].mean(),
        e_adaptive=em["adp"],
        e_max=em["curve"].max(),
        mae=mae.get_results()["mae"],
        iou=found["iou"]["binary"],
        dice=found["dice"]["binary"],
    )


def single(cases: list[Case]) -> Scores:
    scored = [score_case(case) for case in cases]
    return summarize([one.scores for one in scored if not isinstance(one, str)])


def in_processes(scorer: Scorer, cases: list[Case]) -> Scores:
    scored = scorer.score(cases, Progress(len(cases), io.StringIO()))
    return summarize([one.scores for one in scored])


if __name__ == "__main__":
    main()
