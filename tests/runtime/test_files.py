"""Files read without hanging, written whole or not at all, and cleared after a kill."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dsunet_runtime import OutputError, files
from dsunet_runtime.files import (
    clear_leftovers,
    destination,
    map_file,
    open_regular,
    staged_file,
    staging_folder,
)
from dsunet_runtime.prediction.output_files import write_pixels


@pytest.fixture(autouse=True)
def forget_cleared_folders() -> None:
    clear_leftovers.cache_clear()


@pytest.fixture
def small_files() -> Iterator[int]:
    """Files of this process cannot grow beyond so many bytes, as if the disk were full."""
    limit = 8192
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"


def test_files_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with map_file(path) as content:
        assert bytes(content) == b"abc"
    path.write_bytes(b"")
    with pytest.raises(OSError, match="is empty"):
        map_file(path)


def test_where_a_staged_file_goes(tmp_path: Path) -> None:
    """Not further up, although the folder of the results is hidden too."""
    results = tmp_path / ".cache" / "out"
    results.mkdir(parents=True)
    with staging_folder(results) as folder, staging_folder(folder) as inner:
        for path in (inner / "b", inner / "scratch" / "b", folder / "b", results / "b"):
            assert destination(path) == results


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "NUL", "loop", "long", "absent"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path, expected = {
        "pipe": (tmp_path / "pipe", "is a pipe or a device, not a file"),
        "device": (Path("/dev/zero"), "is a pipe or a device, not a file"),
        "folder": (tmp_path, "is a folder, not a file"),
        "NUL": (Path("a\0b"), "no file can have this name"),
        "loop": (tmp_path / "loop", "Too many levels of symbolic links"),
        "long": (tmp_path / ("a" * 300), "File name too long"),
        "absent": (tmp_path / "absent", "No such file or directory"),
    }[kind]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the sentence is compared below
        open_regular(path)
    assert caught.value.strerror == expected
    assert caught.value.filename == str(path)


def test_a_file_becomes_itself_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with staged_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_names_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    with staged_file(tmp_path / ("a" * 255)) as file:
        file.write(b"1")
    assert (tmp_path / ("a" * 255)).read_bytes() == b"1"


def test_a_full_disk_leaves_no_truncated_image(tmp_path: Path, small_files: int) -> None:
    """Pillow writes to a descriptor past Python, and does not notice that not all was written."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with pytest.raises(OutputError, match="cannot be written: File too large"):
        write_pixels(noise, tmp_path / "a.jpg", ".jpg")
    assert not list(tmp_path.iterdir())


_KILLED = """
import sys
from pathlib import Path
from dsunet_runtime.files import staged_file, staging_folder
with staged_file(Path(sys.argv[1])) as file, staging_folder(Path(sys.argv[1]).parent) as folder:
    (folder / "inside").write_bytes(b"x" * 1000)
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_leftovers_of_a_killed_process_are_cleared_and_no_others(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (tmp_path / ".dsunet-of-somebody-else.tmp").write_bytes(b"")
        living = sorted(tmp_path.iterdir())
        assert len(living) == 3
        clear_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == living
        process.kill()
    assert sorted(tmp_path.iterdir()) == living

    clear_leftovers.cache_clear()
    with staged_file(tmp_path / "b") as file:
        file.write(b"1")
    assert {path.name for path in tmp_path.iterdir()} == {"b", ".dsunet-of-somebody-else.tmp"}


def test_a_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as folder:
        (folder / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")
        (folder / "a").replace(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_many_writers_of_one_folder_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from dsunet_runtime.files import clear_leftovers, staged_file\n"
        "for number in range(200):\n"
        "    clear_leftovers.cache_clear()\n"
        "    with staged_file(Path(sys.argv[1]) / sys.argv[2]) as file: file.write(b'x')\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)])
        for number in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_a_process_that_keeps_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_keeps_leftovers", False)
    leftover = tmp_path / f".dsunet-{'0' * 32}.tmp"
    leftover.write_bytes(b"")
    files.keep_leftovers()
    with staged_file(tmp_path / "a") as file:
        file.write(b"1")
    assert leftover.exists()
    files.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_locks_nothing_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = tmp_path / f".dsunet-{'0' * 32}.tmp"
    leftover.write_bytes(b"")
    monkeypatch.setattr(files, "_lock", lambda descriptor: files._Lock.UNSUPPORTED)
    with staged_file(tmp_path / "a") as file:
        file.write(b"1")
    assert leftover.exists()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
