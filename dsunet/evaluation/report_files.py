"""Write an evaluation to a folder: JSON, CSV, HTML, Markdown and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dsunet.evaluation.html_report import format_report_page
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.paper_table import format_paper_table
from dsunet.evaluation.results import METRICS, DatasetResults, results_document
from dsunet.evaluation.table_format import TableFormat
from dsunet_runtime.files import make_folder, write_whole
from dsunet_runtime.message_text import readable


def write_report(evaluation: Sequence[DatasetResults], folder: Path, worst: int) -> None:
    """Write metrics.json, metrics.csv, images.csv, report.html, table.md and table.tex.

    Each file is written atomically.  report.html shows the `worst` masks of each dataset.  Raises
    OutputError if a file cannot be written.
    """
    files = {
        "metrics.json": json.dumps(results_document(evaluation), indent=2) + "\n",
        "metrics.csv": _as_csv(("dataset", "model", "images", *METRICS), _dataset_rows(evaluation)),
        "images.csv": _as_csv(("dataset", "model", "stem", *METRICS), _image_rows(evaluation)),
        "report.html": format_report_page(evaluation, worst),
        **{
            f"table{table_format.suffix}": format_paper_table(evaluation, table_format) + "\n"
            for table_format in TableFormat
        },
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


def _dataset_rows(evaluation: Sequence[DatasetResults]) -> Iterator[tuple[object, ...]]:
    for dataset in evaluation:
        count = len(dataset.test_set.pairs)
        for result in dataset.results:
            scores = dataclasses.astuple(result.scores)
            yield (dataset.name, result.model, count, *scores)


def _image_rows(evaluation: Sequence[DatasetResults]) -> Iterator[tuple[object, ...]]:
    for dataset in evaluation:
        for result in dataset.results:
            for scored in result.scored:
                scores = dataclasses.astuple(summarize([scored.scores]))
                yield (dataset.name, result.model, readable(scored.case.stem), *scores)
