"""`dsunet-run predict` for video files, compared with what PyAV reads of input and output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from dsunet_runtime.masks.foreground import opacity
from dsunet_runtime.video.reader import VideoReader
from tests.runtime.artifacts import expected_frames_mask
from tests.runtime.video.clips import (
    HEIGHT,
    RATE,
    STEP,
    TICKS,
    WIDTH,
    Audio,
    names,
    read,
    scene,
    write,
)
from tests.runtime.video.conftest import Predict

NEAR = 3
"""Levels by which two conversions from YUV differ."""
UNEVEN = [0, 300, 1024, 1500, 2600, 4000]
"""Times of frames in ticks."""


def grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=2)


class TestVideoFile:
    def test_masks(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(6))
        result = predict("in.mp4", "-o", "out.mp4")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("6 frames, ")
        given, written = read(Path("in.mp4")), read(Path("out.mp4"))
        assert len(written.frames) == 6
        assert written.codec == "h264"
        for frame, mask in zip(given.frames, written.frames, strict=True):
            assert np.ptp(mask, axis=2).max() <= NEAR  # grey
            assert np.abs(grey(mask) - expected_frames_mask(frame)).mean() < 1.5

    @pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
    def test_times_and_audio_are_kept(self, predict: Predict, suffix: str) -> None:
        write(Path("in.mp4"), scene(6), times=UNEVEN, audio=Audio())
        assert predict("in.mp4", "-o", f"out{suffix}", "--overlay", "--batch", 4).exit_code == 0
        given, written = read(Path("in.mp4")), read(Path(f"out{suffix}"))
        assert given.times == [Fraction(t, TICKS) for t in UNEVEN]
        if suffix == ".mkv":  # has milliseconds, and no times before 0, where AAC begins
            shift = written.times[0] - given.times[0]
            assert abs(shift - Fraction(1024, 48000)) <= Fraction(1, 1000)
            apart = [a - b - shift for a, b in zip(written.times, given.times, strict=True)]
            assert max(map(abs, apart)) <= Fraction(1, 1000)
        else:
            assert written.times == given.times
            assert abs(written.end - given.end) < Fraction(1, RATE)  # MP4 has steps, not ends
        assert written.audio == given.audio

    def test_audio_longer_than_video(self, predict: Predict) -> None:
        write(Path("in.mkv"), scene(3), audio=Audio("pcm_s16le", seconds=1.5))
        assert predict("in.mkv", "-o", "out.mkv").exit_code == 0
        assert b"".join(read(Path("out.mkv")).audio) == b"".join(read(Path("in.mkv")).audio)

    def test_audio_that_the_container_does_not_take(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(3), audio=Audio())
        result = predict("in.mp4", "-o", "out.webm")
        assert ".webm does not support audio in aac: encoded again with libopus" in result.stderr
        written = read(Path("out.webm"))
        assert (written.codec, written.audio_codec) == ("vp9", "opus")
        assert len(written.audio) in range(20, 23)  # 0.4 s in packets of 20 ms

    @pytest.mark.parametrize("size", [(47, 65), (48, 65), (47, 64)])
    def test_odd_sizes(self, predict: Predict, size: tuple[int, int]) -> None:
        write(Path("in.mkv"), scene(2, *size), codec="ffv1", pixels="bgr0")
        result = predict("in.mkv", "-o", "out.mp4", "--overlay")
        assert "with the last row or column repeated" in result.stderr
        frame = read(Path("out.mp4")).frames[0].astype(int)
        assert frame.shape == (48, 66 if size[1] % 2 else 64, 3)
        if size[1] % 2:
            assert np.abs(frame[:, -1] - frame[:, -2]).mean() < NEAR
        if size[0] % 2:
            assert np.abs(frame[-1] - frame[-2]).mean() < NEAR

    @pytest.mark.parametrize("angle", [90, 180, -90])
    @pytest.mark.parametrize("mirrored", [False, True])
    def test_rotation(self, predict: Predict, angle: int, mirrored: bool) -> None:
        write(
            Path("in.mp4"),
            scene(2),
            rotation=(angle, mirrored),
            sample_aspect_ratio=Fraction(4, 3),
        )
        predict("in.mp4", "-o", "out.mp4", "--overlay")
        predict("in.mp4", "-o", "frames")
        given, written = read(Path("in.mp4")), read(Path("out.mp4"))
        upright = np.rot90(given.frames[0], angle // 90)
        if mirrored:
            upright = upright[:, ::-1]
        mask = np.asarray(Image.open("frames/in_000001.png"))
        assert mask.shape == upright.shape[:2]
        assert np.abs(mask - expected_frames_mask(upright).astype(int)).mean() < 1.5
        assert written.frames[0].shape == upright.shape
        assert written.rotation == 0
        assert written.pixel_aspect == (Fraction(4, 3) if angle == 180 else Fraction(3, 4))

    def test_ten_bits(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(3), pixels="yuv420p10le")
        assert predict("in.mp4", "-o", "frames").exit_code == 0
        for index, frame in enumerate(read(Path("in.mp4")).frames):
            mask = np.asarray(Image.open(f"frames/in_{index + 1:06}.png")).astype(int)
            assert np.abs(mask - expected_frames_mask(frame)).mean() < 1.5

    def test_start_of_a_transport_stream_is_0(self, predict: Predict) -> None:
        write(Path("in.ts"), scene(4), times=[5 * TICKS + STEP * n for n in range(4)])
        assert read(Path("in.ts")).times[0] >= 5
        assert predict("in.ts", "-o", "out.mp4").exit_code == 0
        assert read(Path("out.mp4")).times == [Fraction(n, RATE) for n in range(4)]

    def test_change_of_size(self, predict: Predict) -> None:
        """Two transport streams, one after the other."""
        parts = [
            write(Path(f"{n}.ts"), scene(3, *size), times=[5000 * n + STEP * i for i in range(3)])
            for n, size in enumerate([(48, 64), (96, 80)])
        ]
        Path("in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
        result = predict("in.ts", "-o", "out.mp4")
        assert "the size of the frames changes: resized to that of the" in result.stderr
        assert [f.shape for f in read(Path("out.mp4")).frames] == [(48, 64, 3)] * 6
        predict("in.ts", "-o", "out", "--smooth", 2)
        assert Image.open("out/in_000006.png").size == (80, 96)

    def test_attachments_are_left_out(self, predict: Predict) -> None:
        write(Path("in.mkv"), scene(2), attachment=b"notes")
        result = predict("in.mkv", "-o", "out.mkv")
        assert "in.mkv: 1 attachment stream left out" in result.stderr
        assert result.exit_code == 0

    def test_hdr_is_reported(self, predict: Predict) -> None:
        tags = {"color_trc": 16, "color_primaries": 9, "colorspace": 9, "color_range": 1}
        write(Path("in.mp4"), scene(2), pixels="yuv420p10le", **tags)
        result = predict("in.mp4", "-o", "out.mp4")
        assert "in.mp4: HDR (PQ) was converted to SDR" in result.stderr


class TestAlpha:
    """What makes a cut-out transparent comes from the mask."""

    @pytest.mark.parametrize(
        ("name", "decoder"), [("out.webm", "libvpx-vp9"), ("out.mov", "prores")]
    )
    def test_alpha_is_that_of_the_mask(self, predict: Predict, name: str, decoder: str) -> None:
        write(Path("in.mp4"), scene(3))
        assert predict("in.mp4", "-o", name, "--cutout").exit_code == 0
        context = av.CodecContext.create(decoder, "r")
        with av.open(name) as container:
            video = container.streams.video[0]
            context.extradata = video.codec_context.extradata
            context.codec_tag = video.codec_context.codec_tag
            alphas = [
                frame.to_ndarray(format="rgba")[..., 3]
                for packet in container.demux(video)
                for frame in context.decode(packet if packet.size else None)
            ]
        for alpha, frame in zip(alphas, read(Path("in.mp4")).frames, strict=True):
            expected = opacity(expected_frames_mask(frame))
            assert np.abs(alpha.astype(int) - expected).mean() < 2

    def test_container_without_alpha(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(2))
        result = predict("in.mp4", "-o", "out.mp4", "--cutout")
        assert result.exit_code == 2
        assert ".mp4 does not support transparency: name .mov or .webm" in result.stderr


class TestFrames:
    def test_files(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(3))
        assert predict("in.mp4", "-o", "out/", "--overlay", "--cutout").exit_code == 0
        expected = [
            f"in_00000{n}{end}"
            for n in (1, 2, 3)
            for end in (".png", "_cutout.png", "_overlay.jpg")
        ]
        assert names(Path("out")) == expected

    def test_existing_ones_are_kept(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(6))
        predict("in.mp4", "-o", "whole", "--smooth", 2)
        predict("in.mp4", "-o", "out", "--smooth", 2)
        Path("out/in_000001.png").write_bytes(b"kept")
        for index in (4, 6):
            Path(f"out/in_00000{index}.png").unlink()
        result = predict("in.mp4", "-o", "out", "--smooth", 2, "--skip-existing")
        assert "out: 3 frames exist already: skipped" in result.stderr
        assert result.stdout.startswith("3 frames, ")
        assert Path("out/in_000001.png").read_bytes() == b"kept"
        for index in (4, 5, 6):
            name = f"in_00000{index}.png"
            assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()

    def test_existing_video_is_kept(self, predict: Predict) -> None:
        write(Path("in.mp4"), scene(2))
        Path("out.mp4").write_bytes(b"kept")
        assert predict("in.mp4", "-o", "out.mp4", "--skip-existing").exit_code == 0
        assert Path("out.mp4").read_bytes() == b"kept"


def test_lines_of_json(predict: Predict) -> None:
    write(Path("in.mp4"), scene(3), times=[0, 640, STEP * 4])
    result = predict("in.mp4", "-o", "out", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["time"] for line in lines] == [0.0, 0.05, 0.16]
    mask = expected_frames_mask(read(Path("in.mp4")).frames[2])
    last = lines[2]
    assert last["mask"]["mean"] == pytest.approx(mask.mean(), abs=2)
    assert (last["frame"], last["outputs"]) == (3, ["out/in_000003.png"])
    assert (last["width"], last["height"]) == (WIDTH, HEIGHT)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["in.mp4", "photo.png", "-o", "out"],
                "in.mp4 is a video: give one video, and no images",
            ),
            (["in.mp4", "in.mp4", "-o", "out"], "in.mp4 is a video: give one video, and no images"),
            (
                ["in.mp4", "--camera", "0", "-o", "out"],
                "in.mp4 is a video: give one video, and no im",
            ),
            (["in.mp4", "-o", "out.avi"], "masks of a video go to a video (.mp4, .mkv, .mov, .w"),
            (["in.mp4", "-o", "out.png"], "masks of a video go to a video"),
            (["in.mp4", "-o", "-"], "a video cannot be written to standard output"),
            (["in.mp4", "-o", "in.mp4"], "in.mp4: would overwrite the video itself"),
            (["in.mp4", "-o", "out.mp4", "--overlay", "--binary"], "--binary and --overlay need o"),
            (["in.mp4", "-o", "out", "--recursive"], "--recursive applies to folders"),
            (
                ["in.mp4", "-o", "out", "--workers", "2"],
                "--workers and --ray apply to images, and this is a video: omit them",
            ),
            (["photo.png", "-o", "out", "--smooth", "1"], "--smooth applies to videos"),
            (["-o", "out"], "name images, a folder of images or a video, or use --camera"),
        ],
    )
    def test_wrong_usage(self, predict: Predict, arguments: list[str], message: str) -> None:
        write(Path("in.mp4"), scene(1))
        before = names(Path())
        result = predict(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert names(Path()) == before

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("in.mp4", b"no video", "in.mp4: is not a video that PyAV can read"),
            ("in.mkv", b"", "in.mkv: is not a video that PyAV can read"),
            ("missing.mp4", None, "missing.mp4: No such file"),
        ],
    )
    def test_no_video(
        self, predict: Predict, name: str, content: bytes | None, message: str
    ) -> None:
        if content is not None:
            Path(name).write_bytes(content)
        before = names(Path())
        result = predict(name, "-o", "out.mp4")
        assert result.exit_code == 1
        assert message in result.stderr
        assert names(Path()) == before

    def test_only_audio(self, predict: Predict) -> None:
        with av.open("in.mp4", "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
            frame.rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        result = predict("in.mp4", "-o", "out.mp4")
        assert (result.exit_code, Path("out.mp4").exists()) == (1, False)
        assert "in.mp4: has no video stream (only audio)" in result.stderr

    def test_size_that_the_artifact_does_not_take(self, predict: Predict, tmp_path: Path) -> None:
        from tests.runtime import artifacts

        artifacts.frames(tmp_path / "frames.onnx", height=32, width=32)
        write(Path("in.mp4"), scene(2))
        result = predict("in.mp4", "-o", "out.mp4")
        assert (result.exit_code, Path("out.mp4").exists()) == (1, False)
        assert "the image is 64×48 (width×height) and this artifact takes 32×32" in result.stderr


class TestAudio:
    def test_codec_that_a_container_takes_only_by_name(self, predict: Predict) -> None:
        """FFmpeg lists Opus for .mov, and refuses it in the header."""
        write(Path("in.webm"), scene(2), codec="libvpx-vp9", audio=Audio("libopus"))
        result = predict("in.webm", "-o", "out.mov")
        assert result.exit_code == 0, result.stderr
        assert read(Path("out.mov")).audio_codec == "aac"

    def test_times_that_go_back(self, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in damaged files: those packets are lost, not the video."""
        write(Path("in.mkv"), scene(5), audio=Audio())
        packets = VideoReader._packets

        def mixed_up(self: VideoReader) -> Iterator[av.Packet]:
            for index, packet in enumerate(packets(self)):
                if packet.stream.type == "audio" and index % 5 == 0 and packet.dts is not None:
                    packet.pts = packet.dts = 0
                yield packet

        monkeypatch.setattr(VideoReader, "_packets", mixed_up)
        assert predict("in.mkv", "-o", "out.mp4").exit_code == 0
        written = read(Path("out.mp4"))
        assert len(written.frames) == 5
        assert 0 < len(written.audio) < len(read(Path("in.mkv")).audio)
