"""Training, evaluation of masks, and accuracy of the demonstration checkpoint."""

from __future__ import annotations

from sections import plots
from sections.section import Results, Section
from sections.tables import circumstances, digits, duration, relative, table, timing


def training(results: Results) -> Section | None:
    found = {name: one for name, one in results.items() if name.startswith("training_")}
    section = Section(
        "Training",
        [
            "`training.py`: encoders frozen, float32, the same model, images and batch for all "
            "three, interleaved. `published` is a training loop as in the published code."
        ],
    )
    for document in found.values():
        section.blocks += [
            f"### `{document['preset']}`, batch {document['batch']}, {document['device']}",
            table(
                ["", "images/s", "time per step", "time / `published`"],
                [
                    [
                        words,
                        digits(document["images_per_s"][variant]),
                        timing(document["step"][variant]),
                        ""
                        if variant == "published"
                        else relative(document[f"{short}_over_published"]),
                    ]
                    for variant, short, words in _LOOPS
                ],
            ),
            f"Time per step with the cache / without: {relative(document['cached_over_ours'])}. "
            f"Filling the cache takes {duration(document['filling_s_per_image'])} per image, with "
            f"its four flips. Peak memory: {digits(document['memory']['plain']['peak_gb'])} GB, "
            f"with `--checkpointing` {digits(document['memory']['checkpointing']['peak_gb'])} GB.",
            circumstances(document),
        ]
        steps = {"one step": {"times": document["step"]}}
        words = {variant: words for variant, _, words in _LOOPS}
        section.show(f"{document['benchmark']}.svg", plots.rounds(steps, words))
    return section if found else None


_LOOPS = (
    ("published", "published", "`published`"),
    ("ours", "ours", "`dsunet train`"),
    ("ours_cached", "cached", "`dsunet train --cache`, cache filled"),
)


def evaluation(results: Results) -> Section | None:
    document = results.get("evaluation_cpu")
    if document is None:
        return None
    height, width = document["shape"]
    variants = {
        "loop": "one process, a loop over `py_sod_metrics`",
        "single": "one process, `score_case`",
        "scorer": f"`dsunet evaluate`, {document['workers']} processes",
    }
    rows = [
        [
            words,
            digits(document["images_per_second"][variant]),
            timing(document["times"][variant]),
            "" if variant == "loop" else relative(document[f"{variant}_over_loop"]),
        ]
        for variant, words in variants.items()
    ]
    return Section(
        "Evaluation of masks",
        [
            f"`evaluation.py`: all metrics of {document['pairs']} pairs of {width}×{height} from "
            "files, interleaved; the results are identical to the last digit.",
            table(["", "images/s", "median (range)", "time / loop"], rows),
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
            f"`demonstration.py`: {document['scenes']} held-out synthetic scenes of seed "
            f"{document['seed']} ([details](../docs/DEMONSTRATION.md)). int8 and fp8 are "
            f"calibrated on {document['calibration']} other scenes.",
            table(["", *columns.values()], rows),
            circumstances(document),
        ],
    )
