from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from dsunet_runtime import ImageError, load
from dsunet_runtime.commands import run_video as run_module
from dsunet_runtime.commands.run_video import run_video
from dsunet_runtime.images.folder import SUFFIXES as IMAGE_SUFFIXES
from dsunet_runtime.masks.renderings import Mask
from dsunet_runtime.prediction.jobs import OutputKind
from dsunet_runtime.video.job import VideoJob
from dsunet_runtime.video.reader import VideoReader
from dsunet_runtime.video.video_source import (
    SUFFIXES,
    Url,
    VideoSource,
    is_url,
    is_video,
    source_of,
)
from tests.runtime.video.clips import read, scene, write
from tests.runtime.video.conftest import Predict
from tests.runtime.video.servers import serving


class TestNames:
    @pytest.mark.parametrize("name", ["clip.mp4", "CLIP.MOV", "a/b.webm", "a.b.mkv"])
    def test_videos(self, name: str) -> None:
        assert is_video(Path(name))

    @pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp", "a.png", "mp4", "a.mp4.txt"])
    def test_images_and_others(self, name: str) -> None:
        assert not is_video(Path(name))

    def test_no_suffix_is_both(self) -> None:
        assert not SUFFIXES & IMAGE_SUFFIXES

    def test_page_lists_them(self) -> None:
        page = (Path(__file__).parents[3] / "docs/video.md").read_text()
        assert all(f"`{suffix}`" in page for suffix in SUFFIXES)

    @pytest.mark.parametrize("text", ["rtsp://host/x", "http://h/a//b.mp4?c=//d", "udp://@:1234"])
    def test_urls(self, text: str) -> None:
        assert is_url(text)
        assert is_video(Url(text))
        assert Url(text).text == text

    @pytest.mark.parametrize("text", ["C:/clips/a.mp4", "a/b.mp4", "http:a.mp4", "//host/a.mp4"])
    def test_paths(self, text: str) -> None:
        assert not is_url(text)


class TestSources:
    def test_url(self) -> None:
        source = source_of(Url("RTSP://user:secret@host:554/cam%201/main.sdp?x=1"))
        assert source.address == "rtsp://user:secret@host:554/cam%201/main.sdp?x=1"
        assert source.name == "rtsp://host:554/cam%201/main.sdp"
        assert (source.stem, source.is_live) == ("main", True)

    def test_protocol_that_is_not_read(self) -> None:
        with pytest.raises(ImageError, match=r"ftp://host/a\.mp4: this protocol is not supported"):
            source_of(Url("ftp://user:secret@host/a.mp4"))

    def test_file_that_looks_like_a_url(self, tmp_path: Path) -> None:
        path = write(tmp_path / "concat:a.mp4", scene(1))
        assert source_of(path).address == f"file:{path}"

    def test_missing_camera(self) -> None:
        with pytest.raises(ImageError, match=r"camera 250: there is no /dev/video250: found "):
            VideoSource.of_camera(250)


class TestStreams:
    def test_http(self, predict: Predict) -> None:
        path = write(Path("in.ts"), scene(10))
        with serving(path.read_bytes(), ends=True) as url:
            result = predict(url, "-o", "out")
        assert result.exit_code == 0, result.output
        assert sorted(Path("out").iterdir())[-1].name == "clip_000010.png"

    def test_refused_connection(self, predict: Predict) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/clip.ts"
        result = predict(url, "-o", "out.mp4")
        assert (result.exit_code, Path("out.mp4").exists()) == (1, False)
        assert f"{url}: cannot be opened: Connection refused" in result.stderr


class TestCamera:
    """Through FFmpeg's test picture, which is a device to it as a camera is."""

    def source(self, is_live: bool, picture: str) -> VideoSource:
        return VideoSource("camera 0", "camera0", picture, "lavfi", is_live=is_live)

    def job(self, source: VideoSource, folder: Path, name: str | None) -> VideoJob:
        return VideoJob(source, folder, name, (OutputKind(Mask(), ".png"),))

    def test_frames(self, frames_artifact: Path, tmp_path: Path) -> None:
        source = self.source(False, "testsrc=size=64x48:rate=10:duration=1")
        with load(frames_artifact) as segmenter:
            assert run_video("test", segmenter, self.job(source, tmp_path / "out", None), 1)
        files = sorted((tmp_path / "out").iterdir())
        assert [file.name for file in files][-1] == "camera0_000010.png"
        assert Image.open(files[0]).size == (64, 48)

    def test_frames_that_come_too_fast_are_left_out(
        self, frames_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = self.source(True, "testsrc=size=64x48:rate=50:duration=20")
        with load(frames_artifact) as segmenter:
            assert run_video("test", segmenter, self.job(source, tmp_path, "out.mp4"), 1)
        assert "arrived faster than they were computed: left out" in capsys.readouterr().err
        times = read(tmp_path / "out.mp4").times
        assert 4 < len(times) < 1000
        assert times == sorted(times)

    def test_camera_that_stalls(
        self,
        frames_artifact: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Its driver does not return, so that the thread that reads cannot end."""
        forever, packets = threading.Event(), VideoReader._packets

        def stalls(self: VideoReader) -> Iterator[object]:
            yield from itertools.islice(packets(self), 5)
            forever.wait()

        monkeypatch.setattr(VideoReader, "_packets", stalls)
        monkeypatch.setattr(run_module, "TIMEOUT", 0.2)
        source = self.source(True, "testsrc=size=64x48:rate=10,realtime")
        with load(frames_artifact) as segmenter:
            assert not run_video("test", segmenter, self.job(source, tmp_path, "out.mp4"), 1)
        assert "camera 0: no data for 10 s after 0:00.50: 5 frames" in capsys.readouterr().err
        assert len(read(tmp_path / "out.mp4").frames) == 5
        forever.set()
