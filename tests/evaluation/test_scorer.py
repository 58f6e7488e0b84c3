"""Scoring in processes: equal scores, and errors for files that cannot be scored."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsunet.errors import DataError, EvaluationError
from dsunet.evaluation.evaluate import mask_folder
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.scorer import Scorer, score_case
from dsunet.evaluation.test_sets import Case, TestSet, check_fit
from dsunet_runtime.progress import Progress
from tests.data_and_scenes.folders import turned
from tests.evaluation.library import run_directly
from tests.evaluation.pairs import Mask, pairs_of_all_kinds


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with Scorer(2) as scorer:
        yield scorer


def write_cases(folder: Path, pairs: list[tuple[Mask, Mask]]) -> list[Case]:
    cases = []
    for index, (prediction, ground_truth) in enumerate(pairs):
        case = Case(f"{index:03}", None, folder / f"{index}_p.png", folder / f"{index}_t.png")
        Image.fromarray(prediction).save(case.prediction)
        Image.fromarray(ground_truth).save(case.ground_truth)
        cases.append(case)
    return cases


def progress(total: int) -> Progress:
    return Progress(total, io.StringIO())


def test_two_processes_give_what_one_gives(scorer: Scorer, tmp_path: Path) -> None:
    pairs = pairs_of_all_kinds(48)
    cases = write_cases(tmp_path, pairs)
    scored = scorer.score(iter(cases), progress(48))
    assert [one.case for one in scored] == cases
    figures = dataclasses.asdict(summarize([one.scores for one in scored]))
    expected = run_directly(pairs)
    assert figures == {name: expected[name] for name in figures}


def test_what_cannot_be_scored_is_listed_together(scorer: Scorer, tmp_path: Path) -> None:
    cases = write_cases(tmp_path, pairs_of_all_kinds(16)[8:])
    size = len(cases[0].prediction.read_bytes())
    cases[0].prediction.write_bytes(cases[0].prediction.read_bytes()[: size // 2])
    cases[2].ground_truth.write_text("no image")
    zeros_and_ones = np.eye(40, dtype=np.uint8)
    Image.fromarray(zeros_and_ones).save(cases[3].ground_truth)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(cases[5].prediction)
    with pytest.raises(DataError) as caught:
        scorer.score(cases, progress(8))
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 masks cannot be evaluated:"
    assert "0_p.png: damaged" in lines[1]
    assert "2_t.png: not an image" in lines[2]
    assert "3_t.png: its values are 0 and 1, none above 128" in lines[3]
    assert "5_p.png: is 4×3 pixels, its ground truth" in lines[4]
    assert len(lines) == 5


def test_a_prediction_of_zeros_and_ones_is_a_mask_like_any_other(tmp_path: Path) -> None:
    # py_sod_metrics stretches every prediction, so these are as good as 0 and 255.
    _, ground_truth = pairs_of_all_kinds(16)[8]
    (case,) = write_cases(tmp_path, [((ground_truth // 255).astype(np.uint8), ground_truth)])
    scored = score_case(case)
    assert not isinstance(scored, str)
    assert scored.scores.mae == 0


def test_resized_as_the_fields_toolkits_do(tmp_path: Path) -> None:
    prediction, ground_truth = pairs_of_all_kinds(16)[9]
    small = cv2.resize(prediction, (17, 13))
    (case,) = write_cases(tmp_path, [(small, ground_truth)])
    scored = score_case(case, resize=True)
    assert not isinstance(scored, str)
    again = cv2.resize(small, ground_truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    assert scored.scores.mae == run_directly([(again, ground_truth)])["mae"]
    assert scored.is_resampled


def test_a_few_pixels_are_resampled_by_default(tmp_path: Path) -> None:
    prediction, ground_truth = pairs_of_all_kinds(16)[9]
    height, width = ground_truth.shape
    close = cv2.resize(prediction, (width, height + 2))
    far = cv2.resize(prediction, (width // 2, height // 2))
    first, second = write_cases(tmp_path, [(close, ground_truth), (far, ground_truth)])
    scored = score_case(first)
    assert not isinstance(scored, str)
    again = cv2.resize(close, (width, height), interpolation=cv2.INTER_LINEAR)
    expected = run_directly([(again, ground_truth)])
    figures = dataclasses.asdict(summarize([scored.scores]))
    assert figures == {name: expected[name] for name in figures}
    assert scored.is_resampled
    sizes = f"{width // 2}×{height // 2} pixels, its ground truth {width}×{height}"
    line = f"{second.prediction}: is {sizes}"
    assert score_case(second) == line


def test_a_killed_worker_is_one_line(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, pairs_of_all_kinds(16)[8:])
    with Scorer(1) as scorer:
        scorer.score(cases[:1], progress(1))
        (process,) = scorer._pool._processes.values()
        os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(EvaluationError, match="use fewer --workers"):
            scorer.score(cases, progress(8))


def test_workers_use_one_thread_and_leave_interruptions_to_their_parent(scorer: Scorer) -> None:
    assert scorer._pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    handler = scorer._pool.submit(signal.getsignal, signal.SIGINT).result()
    assert handler is signal.SIG_IGN


PARENT = """
import os, time
from dsunet.process_pool import open_pool
if __name__ == "__main__":
    pool = open_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            return  # nobody reaps it where this runs as the first process
        time.sleep(0.05)
    pytest.fail("the worker lives on")


def test_sizes_are_checked_before_anything_is_scored(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, pairs_of_all_kinds(16)[8:])
    check_fit(cases, resize=False)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(cases[5].prediction)
    with pytest.raises(DataError, match=r"(?s)1 of another size.*--resize.*5_p.png: is 4×3"):
        check_fit(cases, resize=False)
    check_fit(cases, resize=True)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_what_exif_turns_in_place_is_refused(tmp_path: Path, orientation: int) -> None:
    cases = write_cases(tmp_path, pairs_of_all_kinds(16)[8:10])
    image = tmp_path / "photo.jpg"
    for source, target in (
        (cases[0].ground_truth, image),
        (cases[1].ground_truth, cases[1].prediction),
    ):
        with Image.open(source) as ground_truth:
            ground_truth.save(target, exif=turned(orientation))
    with pytest.raises(DataError, match="2 that EXIF rotates") as caught:
        check_fit([dataclasses.replace(cases[0], image=image), cases[1]], resize=True)
    lines = str(caught.value).splitlines()[2:]
    assert [line.strip() for line in lines] == [
        f"{image}: orientation {orientation}, of its ground truth 1",
        f"{cases[1].prediction}: orientation {orientation}, of its ground truth 1",
    ]


def test_what_exif_turns_by_a_quarter_is_not_resampled(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    (case,) = write_cases(tmp_path, [(mask, mask)])
    Image.fromarray(mask).save(case.prediction, exif=turned(6))
    for resize in (False, True):
        with pytest.raises(DataError, match="1 with only one file rotated by EXIF") as caught:
            check_fit([case], resize=resize)
        assert "resize" not in str(caught.value)


def test_missing_predictions_are_listed(dataset: Path, tmp_path: Path) -> None:
    for stem in ("scene0", "scene3", "other"):
        Image.new("L", (4, 4)).save(tmp_path / f"{stem}.png")
    test_set = TestSet.of_dataset("ECSSD", dataset)
    with pytest.raises(DataError) as caught:
        test_set.cases(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: 4 of 6 images of ECSSD have no mask there:",
        *(f"  scene{index}" for index in (1, 2, 4, 5)),
    ]


def test_missing_predictions_are_not_looked_for_among_another_models(
    dataset: Path, tmp_path: Path
) -> None:
    for model, count in (("ours", 4), ("theirs", 6)):
        (tmp_path / model).mkdir()
        for index in range(count):
            Image.new("L", (4, 4)).save(tmp_path / model / f"scene{index}.png")
    assert len(TestSet.of_predictions(tmp_path / "theirs", dataset / "Mask").pairs) == 6
    faults = TestSet.of_predictions(tmp_path / "ours", dataset / "Mask").defects
    assert [fault.line.split(": ")[1] for fault in faults] == [
        f"no prediction in {tmp_path / 'ours'}"
    ] * 2


def test_masks_of_a_killed_evaluation_are_cleared_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f".dsunet-{'0' * 32}.tmp" / "dataset"
    left.mkdir(parents=True)
    with mask_folder(None) as folder:
        assert not left.exists()
        assert folder.parent == tmp_path
        (folder / "mask.png").touch()
    assert not any(tmp_path.iterdir())
