"""The plan, and the pipeline that carries it out."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime import BackendError, ImageError, OutputError, Segmenter
from dsunet_runtime.files import make_folder
from dsunet_runtime.forms import Prepared
from dsunet_runtime.prediction.jobs import Job, results_folder
from dsunet_runtime.prediction.predict_jobs import predict_jobs
from tests.runtime.artifacts import expected_frames_mask
from tests.runtime.plans import OVERLAY, jobs_of, outputs_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestPlan:
    def test_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.JPG", "a.png", "notes.txt", ".hidden.png", "sub/c.png")
        jobs = jobs_of([tmp_path], tmp_path / "out")
        out = tmp_path / "out"
        assert jobs == [
            Job.of_mask(tmp_path / "a.png", out / "a.png"),
            Job.of_mask(tmp_path / "b.JPG", out / "b.png"),
        ]

    def test_file_with_any_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "scan.dat")
        (job,) = jobs_of([tmp_path / "scan.dat"], tmp_path / "out", OVERLAY)
        assert outputs_of(job) == [tmp_path / "out/scan.png", tmp_path / "out/scan_overlay.jpg"]

    def test_named_twice_is_taken_once(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png", "b.png")
        again = tmp_path / "x" / ".." / "b.png"
        (tmp_path / "x").mkdir()
        jobs = jobs_of([tmp_path, tmp_path / "a.png", again], tmp_path / "out")
        assert len(jobs) == 2

    def test_links_to_one_image_are_two_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        (tmp_path / "b.png").symlink_to("a.png")
        assert len(jobs_of([tmp_path], tmp_path / "out")) == 2

    def test_two_images_for_one_mask(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "a.png")
        with pytest.raises(OutputError, match=r"out/a\.png: .*a\.jpg and .*a\.png: rename"):
            jobs_of([tmp_path], tmp_path / "out")

    def test_two_folders_with_the_same_name(self, tmp_path: Path) -> None:
        touch(tmp_path, "x/a.png", "y/a.png")
        with pytest.raises(OutputError, match="would be written for both"):
            jobs_of([tmp_path / "x", tmp_path / "y"], tmp_path / "out")

    def test_mask_over_its_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.png")
        with pytest.raises(OutputError, match=r"would overwrite the image .*another folder"):
            jobs_of([tmp_path / "a.png"], tmp_path / "x" / "..")

    def test_overlay_over_an_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "a_overlay.jpg")
        assert len(jobs_of([tmp_path], tmp_path)) == 2
        with pytest.raises(OutputError, match=r"a_overlay\.jpg: would overwrite the image"):
            jobs_of([tmp_path], tmp_path, OVERLAY)

    def test_mask_over_what_a_link_points_to(self, tmp_path: Path) -> None:
        touch(tmp_path, "out/a.png", "links/x")
        (tmp_path / "links/a.png").symlink_to("../out/a.png")
        with pytest.raises(OutputError, match="would overwrite the image"):
            jobs_of([tmp_path / "links/a.png"], tmp_path / "out")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="absent: No such file"):
            jobs_of([tmp_path / "absent"], tmp_path / "out")

    def test_folder_without_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "notes.txt")
        with pytest.raises(ImageError, match=r"no images in this folder \(looked for .*\.png"):
            jobs_of([tmp_path], tmp_path / "out")


class TestMakeFolder:
    def test_makes_parents_and_takes_what_is_there(self, tmp_path: Path) -> None:
        for _ in range(2):
            make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    def test_a_file(self, tmp_path: Path) -> None:
        touch(tmp_path, "a")
        with pytest.raises(OutputError, match="a: is a file"):
            make_folder(tmp_path / "a")
        with pytest.raises(OutputError, match="cannot be created: Not a directory"):
            make_folder(tmp_path / "a" / "b")

    def test_not_writable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
        with pytest.raises(OutputError, match="is not writable"):
            make_folder(tmp_path)


class TestResultsFolder:
    def test_an_empty_one_goes_where_the_work_fails(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="failed"), results_folder(tmp_path / "new"):
            raise OSError("failed")
        assert not (tmp_path / "new").exists()

    def test_results_stay(self, tmp_path: Path) -> None:
        def work() -> None:
            with results_folder(tmp_path / "new"):
                touch(tmp_path / "new", "a.png")
                raise OSError("failed")

        with pytest.raises(OSError, match="failed"):
            work()
        assert (tmp_path / "new" / "a.png").exists()

    def test_what_was_there_stays(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="failed"), results_folder(tmp_path):
            raise OSError("failed")
        assert tmp_path.is_dir()

    def test_no_folder(self) -> None:
        with results_folder(None):
            pass


def make_jobs(folder: Path, sizes: Sequence[tuple[int, int]]) -> list[Job]:
    images = folder / "images"
    images.mkdir()
    make_folder(folder / "out")
    for index, size in enumerate(sizes):
        rgb = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(images / f"{index:03}.png")
    return jobs_of([images], folder / "out")


class TestPredict:
    @pytest.mark.parametrize("batch", [1, 3, 100])
    def test_masks(self, segmenter: Segmenter, tmp_path: Path, batch: int) -> None:
        jobs = make_jobs(tmp_path, [(5, 7), (5, 7), (4, 4)] * 5)
        outcomes = list(predict_jobs(segmenter, jobs, batch))
        assert [outcome.job for outcome in outcomes] == jobs
        assert not any(outcome.fault for outcome in outcomes)
        for job in jobs:
            with Image.open(job.image) as image, Image.open(*outputs_of(job)) as mask:
                np.testing.assert_array_equal(mask, expected_frames_mask(np.asarray(image)))

    @pytest.mark.parametrize("batch", [1, 4])
    def test_broken_images_fail_alone(
        self, segmenter: Segmenter, tmp_path: Path, batch: int
    ) -> None:
        jobs = make_jobs(tmp_path, [(5, 7)] * 9)
        for index in (0, 4, 8):
            jobs[index].image.write_bytes(b"broken")
        jobs[5].outputs[0].path.mkdir()
        outcomes = list(predict_jobs(segmenter, jobs, batch))
        faults = {index: o.fault for index, o in enumerate(outcomes) if o.fault}
        assert {index: type(fault) for index, fault in faults.items()} == {
            0: ImageError,
            4: ImageError,
            5: OutputError,
            8: ImageError,
        }
        assert str(faults[4]).startswith(f"{jobs[4].image}: not an image")
        assert sum(job.is_done for job in jobs) == 5

    def test_failure_of_the_network_is_of_its_batch(self, tmp_path: Path) -> None:
        jobs = make_jobs(tmp_path, [(5, 7)] * 6)
        outcomes = list(predict_jobs(FakeSegmenter(fails_at=2), jobs, 2))
        assert [bool(outcome.fault) for outcome in outcomes] == [False] * 2 + [True] * 2 + [
            False
        ] * 2
        assert str(outcomes[2].fault) == f"{jobs[2].image}: out of memory"

    def test_decoding_overlaps_the_network(self, tmp_path: Path) -> None:
        jobs = make_jobs(tmp_path, [(5, 7)] * 3)
        segmenter = FakeSegmenter(waits_for=jobs[1].image)
        outcomes = list(predict_jobs(segmenter, jobs, 1))
        assert not any(outcome.fault for outcome in outcomes)

    @pytest.mark.parametrize("batch", [1, 5])
    def test_memory_is_bounded(
        self, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        jobs = make_jobs(tmp_path, [(5, 7)] * 60)
        segmenter = FakeSegmenter()
        for outcome in predict_jobs(segmenter, jobs, batch):
            assert outcome.fault is None
        assert 1 < segmenter.most_at_once <= 2 * 2 + 2 * batch

    def test_stopping_early_leaves_whole_files(self, segmenter: Segmenter, tmp_path: Path) -> None:
        jobs = make_jobs(tmp_path, [(5, 7)] * 40)
        outcomes = predict_jobs(segmenter, jobs, 1)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        written = list((tmp_path / "out").iterdir())
        assert 1 <= len(written) < 40
        for path in written:
            assert path.suffix == ".png"
            with Image.open(path) as image:
                image.load()


class FakeSegmenter(Segmenter):
    """Counts images between `prepare` and `finish`; fails or waits at given images."""

    def __init__(self, fails_at: int | None = None, waits_for: Path | None = None) -> None:
        self._fails_at = fails_at
        self._waits_for = waits_for
        self.concurrency = 1
        self._prepared = threading.Event()
        self._lock = threading.Lock()
        self._at_once = self.most_at_once = self._computed = 0

    def prepare(self, image: Any) -> Prepared:
        if image == self._waits_for:
            self._prepared.set()
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        return Prepared(np.zeros((5, 7, 3), np.uint8), {})

    def infer(self, prepared: Sequence[Prepared]) -> list[dict[str, NDArray[Any]]]:
        if self._waits_for is not None:
            assert self._prepared.wait(10), "the next image is not decoded meanwhile"
        start, self._computed = self._computed, self._computed + len(prepared)
        if start == self._fails_at:
            raise BackendError("out of memory")
        return [{}] * len(prepared)

    def finish(self, outputs: dict[str, NDArray[Any]], prepared: Prepared) -> NDArray[np.uint8]:
        with self._lock:
            self._at_once -= 1
        return np.zeros((5, 7), np.uint8)

    def highest_level(self, outputs: dict[str, NDArray[Any]]) -> None:
        return None
