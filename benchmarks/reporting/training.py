"""Training, judging masks, and what the checkpoint that ships is worth."""

from __future__ import annotations

from reporting import plots
from reporting.section import Results, Section
from reporting.tables import circumstances, digits, duration, share, table, timing


def training(results: Results) -> Section | None:
    found = {name: one for name, one in results.items() if name.startswith("training_")}
    section = Section(
        "Training",
        [
            "`training.py`: encoders frozen, float32, the same model, images and batch for all "
            "three, in turns. `published` is a straightforward loop like the published code's."
        ],
    )
    for document in found.values():
        section.blocks += [
            f"### `{document['preset']}`, batch {document['batch']}, {document['device']}",
            table(
                ["", "images/s", "a step", "time / `published`"],
                [
                    [
                        words,
                        digits(document["images_per_s"][way]),
                        timing(document["step"][way]),
                        "" if way == "published" else share(document[f"{short}_over_published"]),
                    ]
                    for way, short, words in _LOOPS
                ],
            ),
            f"With the cache a step takes {share(document['cached_over_ours'])} of the time of one "
            f"without. Filling it takes {duration(document['filling_s_per_image'])} an image, for "
            f"its four flips. Peak memory: {digits(document['memory']['plain']['peak_gb'])} GB, "
            f"with `--checkpointing` {digits(document['memory']['checkpointing']['peak_gb'])} GB.",
            circumstances(document),
        ]
        steps = {"a step": {"times": document["step"]}}
        words = {way: words for way, _, words in _LOOPS}
        section.show(f"{document['benchmark']}.svg", plots.rounds(steps, words))
    return section if found else None


_LOOPS = (
    ("published", "published", "`published`"),
    ("ours", "ours", "`dsunet train`"),
    ("ours_cached", "cached", "`dsunet train --cache`, filled"),
)


def evaluation(results: Results) -> Section | None:
    document = results.get("evaluation_cpu")
    if document is None:
        return None
    height, width = document["shape"]
    ways = {
        "loop": "one process, a loop over `py_sod_metrics`",
        "single": "one process, ours",
        "judge": f"`dsunet evaluate`, {document['workers']} processes",
    }
    rows = [
        [
            words,
            digits(document["images_per_second"][way]),
            timing(document["times"][way]),
            "" if way == "loop" else share(document[f"{way}_over_loop"]),
        ]
        for way, words in ways.items()
    ]
    return Section(
        "Judging masks",
        [
            f"`evaluation.py`: all metrics of {document['pairs']} pairs of {width}×{height} from "
            "files, in turns; figures equal to the last digit.",
            table(["", "images/s", "median (spread)", "time / the loop's"], rows),
            circumstances(document),
        ],
    )


def demonstration(results: Results) -> Section | None:
    document = results.get("demonstration")
    if document is None:
        return None
    columns = {
        "s_measure": "S-measure",
        "f_mean": "F mean",
        "f_weighted": "F weighted",
        "e_mean": "E mean",
        "mae": "MAE",
        "iou": "IoU",
    }
    rows = [
        [f"`{model}`, {kind}", *(f"{scores[name]:.4f}" for name in columns)]
        for model, kinds in document["results"].items()
        for kind, scores in kinds.items()
    ]
    return Section(
        "The demonstration checkpoint",
        [
            f"`demonstration.py`: {document['scenes']} generated scenes of seed "
            f"{document['seed']}, which played no part in the training "
            "([more](../docs/DEMONSTRATION.md)). int8 and fp8 are calibrated on "
            f"{document['calibration']} others.",
            table(["", *columns.values()], rows),
            circumstances(document),
        ],
    )
