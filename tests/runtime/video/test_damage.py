"""Files that are cut short or damaged, disks that are full, and interruptions."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dsunet_runtime import BackendError, Segmenter, files
from dsunet_runtime.video import reader
from tests.runtime.video.clips import Audio, names, read, scene, write
from tests.runtime.video.conftest import Predict
from tests.runtime.video.servers import serving

FAST_START = {"movflags": "faststart"}


def noisy(count: int) -> list[np.ndarray]:
    """Frames that do not compress, so that a place in the file is one in time."""
    generator = np.random.default_rng(0)
    return [
        np.clip(frame + generator.integers(0, 40, frame.shape), 0, 255).astype(np.uint8)
        for frame in scene(count)
    ]


class TestDamage:
    @pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
    def test_cut_short(self, predict: Predict, name: str) -> None:
        path = write(Path(name), noisy(50), container_options=FAST_START)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        result = predict(name, "-o", "out.mp4")
        assert result.exit_code == 1
        count = len(read(Path("out.mp4")).frames)
        assert 20 < count < 40
        assert f"{name}: ends after 0:01." in result.stderr
        assert f"where its header says 0:02.00: {count} frames could be decoded" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert read(Path("out.mp4")).times == read(path).times[:count]
        assert len(read(path).times) <= count + 1  # PyAV 16 loses one with the packet that is cut

    def test_index_at_the_end_is_missing(self, predict: Predict) -> None:
        path = write(Path("in.mp4"), noisy(20))
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
        result = predict("in.mp4", "-o", "out.mp4")
        assert result.exit_code == 1
        assert "or it is cut short: the index of MP4 is at the end" in result.stderr
        assert not Path("out.mp4").exists()

    def test_damaged_in_the_middle(self, predict: Predict) -> None:
        path = write(Path("in.mp4"), noisy(50), container_options=FAST_START, gop_size=10)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 20_000] = os.urandom(20_000)
        path.write_bytes(content)
        result = predict("in.mp4", "-o", "out.mp4")
        assert result.exit_code == 1
        assert "in.mp4: damaged from 0:0" in result.stderr
        times = read(Path("out.mp4")).times
        assert 25 < len(times) < 50
        assert float(times[-1]) == pytest.approx(49 / 25)  # what comes afterwards is there

    def test_not_one_frame(self, predict: Predict) -> None:
        path = write(Path("in.mp4"), noisy(3), container_options=FAST_START)
        content = path.read_bytes()
        start = content.index(b"mdat") + 4
        path.write_bytes(content[:start] + bytes(len(content) - start))
        result = predict("in.mp4", "-o", "out.mp4")
        assert result.exit_code == 1
        assert "in.mp4: none of its frames could be decoded" in result.stderr
        assert not Path("out.mp4").exists()


class TestWriting:
    def test_full_disk(self, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(files._Writer):
            def write(self, content: object) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files, "_Writer", Full)
        write(Path("in.mp4"), scene(5), audio=Audio())
        before = names(Path())
        result = predict("in.mp4", "-o", "out.mp4")
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "dsunet-run: out.mp4: cannot be written: No space left on device"
        ]
        assert names(Path()) == before

    def test_failing_computation_leaves_nothing(
        self, predict: Predict, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        infer, calls = Segmenter.infer, iter(range(100))

        def fails(self: Segmenter, prepared: object) -> object:
            if next(calls) == 5:
                raise BackendError("out of memory")
            return infer(self, prepared)  # type: ignore[arg-type]

        monkeypatch.setattr(Segmenter, "infer", fails)
        write(Path("in.mp4"), scene(20))
        Path("out.mp4").write_bytes(b"old")
        before = names(Path())
        result = predict("in.mp4", "-o", "out.mp4")
        assert (result.exit_code, result.stderr) == (1, "dsunet-run: out of memory\n")
        assert names(Path()) == before
        assert Path("out.mp4").read_bytes() == b"old"


class TestInterruption:
    """In a process of its own, which gets a signal when it has written a few frames."""

    @pytest.mark.parametrize(
        ("number", "code", "message"),
        [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    )
    def test_what_was_done_is_kept(
        self, frames_artifact: Path, tmp_path: Path, number: int, code: int, message: str
    ) -> None:
        write(tmp_path / "in.mp4", scene(40) * 40, audio=Audio(seconds=64, rate=8000))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dsunet_runtime", "predict", str(frames_artifact)),
                *("in.mp4", "-o", "out.mp4", "--json", "--smooth", "1"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(30):
            process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == code, errors
        written = read(tmp_path / "out.mp4")
        assert errors.splitlines()[-1] == (
            f"dsunet-run: {message}: {len(written.frames):,} frames in out.mp4"
        )
        assert 30 <= len(written.frames) < 1600
        assert written.times == read(tmp_path / "in.mp4").times[: len(written.times)]
        assert written.audio
        assert names(tmp_path) == ["frames.onnx", "in.mp4", "out.mp4"]


class TestStalledStream:
    def test_what_came_is_written(self, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that stops to send, in the middle of a clip."""
        content = write(Path("in.ts"), noisy(50)).read_bytes()
        monkeypatch.setattr(reader, "TIMEOUT", 0.5)
        with serving(content[: len(content) // 2]) as url:
            result = predict(url, "-o", "out.mp4")
        assert result.exit_code == 1
        assert "no data for" in result.stderr
        assert 15 < len(read(Path("out.mp4")).frames) < 30

    def test_no_answer(self, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "TIMEOUT", 0.5)
        with serving(b"") as url:
            result = predict(url, "-o", "out.mp4")
        assert (result.exit_code, Path("out.mp4").exists()) == (1, False)
        assert f"{url}: no answer within" in result.stderr
