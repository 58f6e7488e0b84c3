"""Training, evaluation of masks, and accuracy of the demonstration checkpoint."""

from __future__ import annotations

from typing import Any

from sections import plots
from sections.section import Results, Section
from sections.tables import circumstances, digits, duration, relative, table, timing


def training(results: Results) -> Section | None:
    found = {name: one for name, one in results.items() if name.startswith("training_")}
    section = Section(
        "Training",
        [
            "`training.py`: encoders frozen, the same model, images and batch for all three, "
            "interleaved. `published` is a training loop as in the published code."
        ],
    )
    for document in found.values():
        section.blocks += [
            f"### `{document['preset']}` in {document['precision']}, batch {document['batch']}, "
            f"{document['device']}",
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
    images = document["images"]
    scores = [
        [f"`{model}`, {dataset}, {kind}", *(f"{found[name]:.4f}" for name in _SCORES)]
        for dataset, models in document["results"].items()
        for model, kinds in models.items()
        for kind, found in kinds.items()
    ]
    without = [
        [
            dataset,
            f"{document['results'][dataset][_CHECKPOINT]['all']['s_measure']:.4f}",
            *(f"{found[name]:.4f}" for name in _WITHOUT),
        ]
        for dataset, found in document["s_measure_without"].items()
    ]
    losses = [
        _loss(f"`{model}`, {dataset}", found)
        for dataset, models in document["against_float32"].items()
        for model, found in models.items()
    ] + [_loss(f"`{name}`, photographs", found) for name, found in document["photographs"].items()]
    return Section(
        "The demonstration checkpoint",
        [
            f"`demonstration.py`: {images['drawn']} held-out synthetic scenes of seed "
            f"{document['seed']} and {images['composites']} held-out composites "
            f"([details](../docs/DEMONSTRATION.md)). int8 and fp8 are calibrated on "
            f"{document['calibration']} other images; `engine` is fp16 with the rounding of every "
            "tensor emulated.",
            table(["", *_SCORES.values()], scores),
            "S-measure with the maps of an encoder replaced by zeros or by those of another image:",
            table(["", "whole", *_WITHOUT.values()], without),
            "Masks against those of the float32 artifact, in levels of 0 to 255, and the lowest "
            "IoU at threshold 0.5:",
            table(["", "mean", "worst image", "lowest IoU"], losses),
            circumstances(document),
        ],
    )


def _loss(label: str, found: dict[str, Any]) -> list[str]:
    worst = f"{found['worst']:.3f} ({found['worst_image']})"
    return [label, f"{found['mean']:.3f}", worst, f"{found['lowest_iou']:.3f}"]


_CHECKPOINT = "demonstration.safetensors"
_SCORES = {
    "s_measure": "S-measure",
    "f_mean": "F mean",
    "f_weighted": "F weighted",
    "e_mean": "E mean",
    "mae": "MAE",
    "iou": "IoU",
}
_WITHOUT = {
    "dino: zeros": "DINOv2, zeros",
    "dino: other image": "DINOv2, other image",
    "hiera: zeros": "Hiera's coarsest, zeros",
    "hiera: other image": "Hiera's coarsest, other image",
}
