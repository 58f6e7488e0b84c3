"""Write an evaluation to a folder: JSON, CSV, HTML, Markdown and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dsunet.evaluation.html_report import draw_page
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.paper_table import draw_table
from dsunet.evaluation.results import METRICS, DatasetResults, as_document
from dsunet.evaluation.table_form import TableForm
from dsunet_runtime.message_text import readable
from dsunet_runtime.prediction.jobs import make_folder
from dsunet_runtime.prediction.output_files import write_whole


def write_report(evaluation: Sequence[DatasetResults], folder: Path, worst: int) -> None:
    """Write metrics.json, metrics.csv, images.csv, report.html, table.md and table.tex.

    Each file is written atomically.  report.html shows the `worst` masks of each dataset.  Raises
    OutputError if a file cannot be written.
    """
    files = {
        "metrics.json": json.dumps(as_document(evaluation), indent=2) + "\n",
        "metrics.csv": _as_csv(("dataset", "model", "images", *METRICS), _of_datasets(evaluation)),
        "images.csv": _as_csv(("dataset", "model", "stem", *METRICS), _of_images(evaluation)),
        "report.html": draw_page(evaluation, worst),
        **{f"table{form.suffix}": draw_table(evaluation, form) + "\n" for form in TableForm},
    }
    make_folder(folder)
    for name, text in files.items():
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode("utf-8")))


def _as_csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _of_datasets(evaluation: Sequence[DatasetResults]) -> Iterator[tuple[object, ...]]:
    for one in evaluation:
        count = len(one.test_set.pairs)
        for result in one.results:
            scores = dataclasses.astuple(result.scores)
            yield (one.name, result.model, count, *scores)


def _of_images(evaluation: Sequence[DatasetResults]) -> Iterator[tuple[object, ...]]:
    for one in evaluation:
        for result in one.results:
            for scored in result.scored:
                scores = dataclasses.astuple(summarize([scored.scores]))
                yield (one.name, result.model, readable(scored.case.stem), *scores)
