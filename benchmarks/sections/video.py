"""Flicker of masks in videos."""

from __future__ import annotations

from sections.section import Results, Section
from sections.tables import circumstances, duration, table


def flicker(results: Results) -> Section | None:
    document = results.get("video")
    if document is None:
        return None
    rows = [
        [
            name if reach == "0" else "",
            reach,
            f"{figures['flicker']:.2f}",
            f"{figures['in_motion']:.2f}",
            f"{figures['s_measure']:.3f}",
            duration(figures["seconds"]) if reach != "0" else "",
        ]
        for name, clip in document["clips"].items()
        for reach, figures in clip["smoothing"].items()
    ]
    return Section(
        "Flicker of masks in videos",
        [
            "`video.py`: the demonstration checkpoint on synthetic clips with known ground truth, "
            "60 frames of 640×360 through H.264. Flicker: mean change of the mask from frame to "
            "frame where the image does not change, in levels of 255; in motion: along the "
            "movement, in moving parts. Time of smoothing per frame.",
            table(["clip", "K", "flicker", "in motion", "S-measure", "time"], rows),
            circumstances(document),
        ],
    )
