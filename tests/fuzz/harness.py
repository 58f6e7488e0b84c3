"""Cases, and the contract that they check.

A case changes one file of a sample and reads it with the project's own reader.  Either the result
is that of the unchanged file, or the reader raises an error of its own with one short printable
line, within a time and a memory that fit the size of the file.  A reader of foreign files may also
accept other content; a reader of files that carry a checksum may not.
"""

from __future__ import annotations

import contextlib
import enum
import resource
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.fuzz.mutation import Change

LONGEST_MESSAGE = 600
"""Limit for the characters of a message, without the folder's name, which the user chose."""
SECONDS = 10.0
"""Limit for the CPU time of a case: a hundred times that of the slowest reader."""
WAITING_SECONDS = 60
"""Wall-clock time after which a case counts as hanging; the machine may be busy."""
_ADDRESS_SPACE = 4 << 30


class Outcome(enum.StrEnum):
    """The outcome of a case that is no fault."""

    SAME = "same"
    """The result is that of the unchanged file."""
    OTHER = "other"
    """Another result, from a foreign file."""
    REFUSED = "refused"
    """An error of the package."""


class Attack(Protocol):
    """A target of the fuzzer.  A seed and a number identify a case."""

    name: str

    def prepare(self, folder: Path) -> None:
        """Prepare once, before the first case."""

    def run(self, seed: int, number: int, folder: Path) -> Outcome:
        """Run one case in a new folder.  Raises FuzzFault; the folder then has the case's files."""


class FuzzFault(Exception):  # noqa: N818 - what a case is about, not an error of this code
    """A case that broke the contract."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Valid files, and the changes that may be made to them."""

    entry: str
    """Name of the file that is given to the reader."""
    files: dict[str, bytes]
    changes: dict[str, Change]
    """Changes by file name."""
    is_protected: bool = False
    """Whether the reader must detect other content."""

    def write(self, folder: Path, changed: Mapping[str, bytes] | None = None) -> Path:
        """Write the files, with changes if there are any; return the path of the entry."""
        folder.mkdir(parents=True)
        for name, content in {**self.files, **(changed or {})}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        return folder / self.entry


@dataclass(slots=True)
class Target:
    """One reader, and samples of the files that it reads."""

    name: str
    read: Callable[[Path], Any]
    """Reads the entry of a sample; results can be compared."""
    samples: list[Sample]
    errors: tuple[type[Exception], ...]
    """Exceptions of the package."""
    memory: int = 512 << 20
    """Limit for the memory of a case in bytes; no sample is larger than a megabyte."""
    whole: list[Any] = field(default_factory=list)
    """Results of `read` for the unchanged samples."""

    def prepare(self, folder: Path) -> None:
        """Read the unchanged samples."""
        for number, sample in enumerate(self.samples):
            self.whole.append(self.read(sample.write(folder / f"whole{number}")))

    def run(self, seed: int, number: int, folder: Path) -> Outcome:
        """Run one case.  Raises FuzzFault; the folder then has the files."""
        random = Random(f"{seed} {self.name} {number}")
        index = random.randrange(len(self.samples))
        sample = self.samples[index]
        name = random.choice(sorted(sample.changes))
        content = sample.changes[name](random, sample.files[name])
        entry = sample.write(folder, {name: content})
        return self._outcome(entry, sample, self.whole[index], content == sample.files[name])

    def _outcome(self, entry: Path, sample: Sample, whole: Any, unchanged: bool) -> Outcome:
        try:
            with bounded(self.memory):
                found = self.read(entry)
        except self.errors as error:
            if unchanged:
                raise FuzzFault(f"an unchanged file was refused: {error}") from error
            check_message(str(error).replace(str(entry.parent), "…"))
            return Outcome.REFUSED
        except FuzzFault:
            raise
        except BaseException as error:
            raise FuzzFault(f"{type(error).__name__}, not an error of the package") from error
        if found == whole:
            return Outcome.SAME
        if sample.is_protected:
            raise FuzzFault("other content was accepted")
        return Outcome.OTHER


def check_message(message: str) -> None:
    """Raise FuzzFault unless a message is one short printable line."""
    if not message:
        raise FuzzFault("the message is empty")
    if len(message) > LONGEST_MESSAGE:
        raise FuzzFault(f"the message has {len(message)} characters: {message[:200]!r}")
    if not message.isprintable():
        raise FuzzFault(f"the message is not one printable line: {message!r}")


@contextlib.contextmanager
def bounded(largest: int) -> Iterator[None]:
    """Raise FuzzFault if the body takes too much time, or more than `largest` bytes."""
    before = _memory("VmRSS")
    _reset_peak()
    start = time.process_time()
    raised: BaseException | None = None
    with warnings.catch_warnings(), _limited_address_space(), _alarm():
        warnings.simplefilter("ignore")
        try:
            yield
        except BaseException as error:  # the limits are checked first
            raised = error
    seconds, memory = time.process_time() - start, _memory("VmHWM") - before
    if seconds > SECONDS:
        raise FuzzFault(f"took {seconds:.1f} s") from raised
    if memory > largest:
        raise FuzzFault(f"took {memory >> 20} MB") from raised
    if raised is not None:
        raise raised


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise FuzzFault(f"does not end: {WAITING_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(WAITING_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _limited_address_space() -> Iterator[None]:
    """Limit the address space, so that huge allocations fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + _ADDRESS_SPACE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _memory(name: str) -> int:
    """A memory figure of this process in bytes, by its name in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"the kernel does not report {name}")


def _reset_peak() -> None:
    """Reset VmHWM to VmRSS."""
    Path("/proc/self/clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class Fault:
    """A case that broke the contract."""

    target: str
    seed: int
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.target} {self.number}: {self.reason}\n    again: {self.command}"

    @property
    def command(self) -> str:
        """The command that runs this case alone."""
        options = f"--target {self.target} --seed {self.seed} --case {self.number}"
        return f'make fuzz FUZZ="{options}"'


def run_cases(
    target: Attack, seed: int, numbers: range, folder: Path, kept: Path
) -> tuple[Counter[str], list[Fault]]:
    """Count outcomes, and keep the files of faults under `kept`."""
    counts: Counter[str] = Counter()
    faults = []
    for number in numbers:
        case = folder / "case"
        try:
            counts[str(target.run(seed, number, case))] += 1
        except FuzzFault as fault:
            counts["fault"] += 1
            cause = fault.__cause__
            reason = f"{fault} ({cause!r:.300})" if cause else str(fault)
            faults.append(Fault(target.name, seed, number, reason))
            saved = kept / f"{target.name}-{seed}-{number}"
            shutil.rmtree(saved, ignore_errors=True)
            shutil.copytree(case, saved)
        shutil.rmtree(case, ignore_errors=True)
    return counts, faults
