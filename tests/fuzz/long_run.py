"""A long run, by `make fuzz`: all targets on all cores, with a log that a later run continues.

The log has one JSON object a line: a finished chunk of cases with its outcomes, or a fault with the
command that runs it again.  The files of faults are kept beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.harness import Fault, run_cases
from tests.fuzz.targets import TARGETS, parts

_CHUNK = 1000
_MINUTES = 10
"""Minutes after which a case counts as hanging in code that Python cannot interrupt."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Cases of one target, run by one process."""

    target: str
    seed: int
    first: int
    cases: int

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.cases)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of a chunk."""

    chunk: Chunk
    counts: Counter[str]
    faults: list[Fault]
    seconds: float

    def entries(self) -> Iterator[dict[str, Any]]:
        """Objects of the log: each fault, then the chunk."""
        for fault in self.faults:
            yield {"fault": fault.reason, "command": fault.command}
        yield {**asdict(self.chunk), "seconds": round(self.seconds, 1), "outcomes": self.counts}

    def __str__(self) -> str:
        line = f"{self.chunk.target} {self.chunk.first}: {dict(self.counts)}, {self.seconds:.0f} s"
        return "\n".join([line, *map(str, self.faults)])


def main(arguments: Sequence[str]) -> int:
    """Run what the options say; the exit code is 1 if there were faults."""
    options = _parser().parse_args(arguments)
    kept = options.log.parent
    kept.mkdir(parents=True, exist_ok=True)
    if options.case is not None:
        chunk = Chunk(options.target[0], options.seed, options.case, 1)
        counts, faults = run_chunk(chunk, kept)
        print(*counts, *faults, sep="\n")
        return bool(faults)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the cores are busy with other cases
    before = _read(options.log, options.seed)
    chunks = [
        chunk
        for target, cases in parts(options.target, options.cases).items()
        for chunk in _chunks(target, options.seed, cases)
        if chunk not in before
    ]
    with options.log.open("a") as log:
        for result in _run_all(chunks, options.jobs, kept):
            for entry in result.entries():
                log.write(json.dumps(entry) + "\n")
            log.flush()
            print(result, flush=True)
    return _summarize(options.log, options.seed)


def run_chunk(chunk: Chunk, kept: Path, reached: Any = None) -> tuple[Counter[str], list[Fault]]:
    """Run cases in this process; `reached` gets each number before its case begins."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = TARGETS[chunk.target].build(folder / "samples", patch)
        target.prepare(folder / "whole")
        counts: Counter[str] = Counter()
        faults = []
        for number in chunk.numbers:
            if reached is not None:
                reached.value = number
            found, more = run_cases(target, chunk.seed, range(number, number + 1), folder, kept)
            counts += found
            faults += more
        return counts, faults


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("make fuzz FUZZ=…", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="number of cases of all targets")
    parser.add_argument(
        "--target", action="append", choices=list(TARGETS), help="target to run; repeatable"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of all cases")
    parser.add_argument(
        "--case", type=int, help="run only the case of this number, of one --target"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    parser.add_argument(
        "--log", type=Path, default=Path("build/fuzz/log.jsonl"), help="log to continue"
    )
    return parser


def _chunks(target: str, seed: int, cases: int) -> Iterator[Chunk]:
    for first in range(0, cases, _CHUNK):
        yield Chunk(target, seed, first, min(_CHUNK, cases - first))


class _ChunkProcess:
    """A process that runs a chunk."""

    def __init__(self, chunk: Chunk, kept: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.chunk = chunk
        self._reached = context.Value("q", chunk.first)
        self._start = self._advanced = time.monotonic()
        self._last = chunk.first
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run_in_process, args=(chunk, kept, self._reached, sender)
        )
        self._process.start()
        sender.close()

    def finished(self) -> Result | None:
        """Return the outcomes, or None while it runs.

        A case that ends the process or hangs for minutes is a fault, and ends the chunk.
        """
        if self._reached.value != self._last:
            self._last, self._advanced = self._reached.value, time.monotonic()
        hangs = time.monotonic() - self._advanced > 60 * _MINUTES
        if hangs:
            self._process.kill()
        elif not self._receiver.poll(0.1):
            return None
        try:
            found = self._receiver.recv()
            if isinstance(found, Exception):
                raise found
            counts, faults = found
            done = self.chunk
        except EOFError:
            self._process.join()
            reason = "hangs" if hangs else f"ends the process ({self._process.exitcode})"
            faults = [Fault(self.chunk.target, self.chunk.seed, self._last, reason)]
            counts = Counter({"fault": 1, "unknown": self._last - self.chunk.first})
            done = replace(self.chunk, cases=self._last + 1 - self.chunk.first)
        self._process.join()
        return Result(done, counts, faults, time.monotonic() - self._start)


def _run_all(chunks: Sequence[Chunk], jobs: int, kept: Path) -> Iterator[Result]:
    """Yield the results of chunks as they finish."""
    waiting, running = list(reversed(chunks)), list[_ChunkProcess]()
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(_ChunkProcess(waiting.pop(), kept))
        for one in list(running):
            result = one.finished()
            if result is None:
                continue
            running.remove(one)
            if rest := one.chunk.cases - result.chunk.cases:
                first = result.chunk.first + result.chunk.cases
                waiting.append(replace(one.chunk, first=first, cases=rest))
            yield result


def _run_in_process(chunk: Chunk, kept: Path, reached: Any, sender: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libtiff and others print errors
    try:
        sender.send(run_chunk(chunk, kept, reached))
    except BaseException as error:  # of this code: what readers raise is counted
        sender.send(RuntimeError(f"{chunk}: {error!r}"))


def _read(log: Path, seed: int) -> set[Chunk]:
    """Read the chunks of a seed from a log."""
    return {
        Chunk(entry["target"], seed, entry["first"], entry["cases"])
        for entry in _entries(log)
        if entry.get("seed") == seed
    }


def _entries(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def _summarize(log: Path, seed: int) -> int:
    """Print the outcomes of a seed; return 1 if there are faults."""
    totals: dict[str, Counter[str]] = {}
    for entry in _entries(log):
        if entry.get("seed") == seed:
            totals.setdefault(entry["target"], Counter()).update(entry["outcomes"])
    for name, counts in {**totals, "all": sum(totals.values(), Counter())}.items():
        outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(counts.items()))
        print(f"{name:14} {counts.total():>8,} cases: {outcomes}")
    return int(any(counts["fault"] for counts in totals.values()))
